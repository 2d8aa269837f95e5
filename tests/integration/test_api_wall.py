"""The second wall: a query that forgets its tenant shows nothing of another one."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from services.api.foreign_ports import DISPUTES, LICENCE_KEYS, PAYMENTS, REFUNDS, SUBSCRIPTIONS
from services.api.lookups import CustomerLookup, EntryLookup
from services.api.ports import BlocklistFilter, CustomerFilter, Page
from services.api.queries import wall
from services.api.queries.blocklist import PostgresBlocklist
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from services.api.queries.lookups import PostgresLookups
from services.api.queries.reader import Reader
from services.api.queries.wall import Statement, of, shared, walled
from services.migrate import migrate_database
from services.projections.read_models.tables import metadata
from tests.integration.lookup_rows import MINE, OTHER, SHARDS, START, Rows

TENANTS_CONDITION = re.compile(r"(?:\w+\.)?(business_id|mode) = (\$[12]\b|\w+\.\1)")
WALL = walled("").query.decode()


def forgetful(statement: Statement) -> Statement:
    """The query without its own conditions on the tenant; the wall before it stays."""
    query = statement.query.decode().removeprefix(WALL)
    assert statement.names[:2] == ("business_id", "mode")
    assert TENANTS_CONDITION.search(query), "the query itself says whose rows it wants"
    return Statement((WALL + TENANTS_CONDITION.sub("true", query)).encode(), statement.names)


@pytest.fixture
async def dsn(database: Callable[[str], str]) -> str:
    made = database("wall")
    migrate_database("views", made, SHARDS)
    rows = Rows(made)
    for tenant, name in ((MINE, "Mine"), (OTHER, "Theirs")):
        for number in range(3):
            rows.customer(f"cus_{tenant.business_id}_{number}", number, name, tenant, '{"tier": "gold"}')
            rows.entry(f"cus_{tenant.business_id}_{number}", number, 5, tenant=tenant, reference="ord")
        rows.block(f"cus_{tenant.business_id}_0", tenant)
        rows.business(tenant)
    rows.close()
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every statement that runs has forgotten its tenant; what it said before is kept here."""
    once = Reader._once
    statements: list[bytes] = []

    async def forgetting(self: Reader, statement: Statement, values: dict[str, Any]) -> list[Any]:
        if statement.query.decode().startswith(WALL):
            statements.append(statement.query)
            statement = forgetful(statement)
        return await once(self, statement, values)

    monkeypatch.setattr(Reader, "_once", forgetting)
    return statements


async def test_a_query_that_forgets_its_tenant_shows_nothing_of_another(dsn: str, asked: list[bytes]) -> None:
    queries = PostgresQueries(dsn, SHARDS)
    lookups = PostgresLookups(queries.searching)
    await queries.open()
    try:
        for theirs in ("cus_bus_other_0", "cus_bus_other_1"):
            assert (await queries.customer(MINE, theirs))[1] is None
            assert (await queries.wallets(MINE, theirs))[1:] == (None, [])
            assert (await queries.entries(MINE, theirs, Page(10, 0), None))[1] is None
            assert (await queries.entries(MINE, theirs, Page(10, 0), "USD"))[1] is None
            assert await lookups.customer(MINE, theirs) is None
            assert (await lookups.entries(MINE, EntryLookup(customer_id=theirs))).items == []
        assert [row.name for row in await queries.customers(MINE, Page(10, 0), CustomerFilter())] == [
            "Mine"
        ] * 3
        await _lists(lookups)
        await _blocklist(PostgresBlocklist(queries, queries.searching))
        await _told(PostgresForeign(queries, queries.searching))
    finally:
        await queries.close()
    assert len(set(asked)) >= 50


async def _lists(lookups: PostgresLookups) -> None:
    asks = [
        CustomerLookup(), CustomerLookup(words=("cus",)), CustomerLookup(order="name"), CustomerLookup(words=("zzz",)),
        CustomerLookup(order="balance", currency="USD"), CustomerLookup(currency="USD", balance_gte=1),
        CustomerLookup(metadata=(("tier", "gold"),)), CustomerLookup(status="blocked"),
    ]  # fmt: skip
    for ask in asks:
        found = (await lookups.customers(MINE, ask)).items
        assert {row.name for row in found} <= {"Mine"}
        counted = await lookups.customers_total(MINE, ask)
        assert counted is not None
        assert counted.number == len(found)
    for entries in (EntryLookup(), EntryLookup(reference="ord"), EntryLookup(cause="adjustment")):
        items = (await lookups.entries(MINE, entries)).items
        assert {row.customer_id[:12] for row in items} == {"cus_bus_mine"}
        counted = await lookups.entries_total(MINE, entries)
        assert counted is not None
        assert counted.number == len(items) == 3
    theirs = (await lookups.entries(OTHER, EntryLookup())).items[0]
    assert await lookups.entry(MINE, theirs.entry_id) is None


async def _blocklist(blocklist: PostgresBlocklist) -> None:
    assert [row.name for row in await blocklist.entries(MINE, Page(10, 0), BlocklistFilter())] == ["Mine"]
    assert await blocklist.entry(MINE, "blk_cus_bus_other_0") is None
    assert await blocklist.addressed(MINE, "cus_bus_other_0@example.com") == []


async def _told(foreign: PostgresForeign) -> None:
    """Both tenants have the same names: what is found is ours, and only once."""
    mine = "cus_bus_mine_0"
    values = {
        "customer_id": mine, "status": "succeeded", "currency": "USD", "brand_id": "brd", "product_id": "pdt",
        "subscription_id": "sub_1", "created_at_gte": START, "created_at_lte": START, "source": "auto",
        "stage": "dispute", "cancel_at_next_billing_date": False,
    }  # fmt: skip
    names = {
        PAYMENTS: "pay_1",
        REFUNDS: "ref_1",
        DISPUTES: "dp_1",
        SUBSCRIPTIONS: "sub_1",
        LICENCE_KEYS: "lic_1",
    }
    for kind, name in names.items():
        found = await foreign.one(MINE, kind, name)
        assert found is not None
        assert found[1].person.customer_id == mine
        for where in ({}, *({one: values[one]} for one in kind.filters)):
            assert {
                told.person.customer_id for told in await foreign.page(MINE, kind, Page(10, 0), where)
            } <= {mine}
    whole = await foreign.payment(MINE, "pay_1")
    assert whole is not None
    assert (whole.payment.row["refunded"], len(whole.refunds), len(whole.disputes)) == (2, 1, 1)
    found_instance = await foreign.instance(MINE, "lki_1")
    assert found_instance is not None
    assert found_instance[1].customer_id == mine
    for key in (None, "lic_1"):
        assert [one.customer_id for one in await foreign.instances(MINE, Page(10, 0), key)] == [mine]
    for after in (None, (START.replace(year=2027), "pay_9")):
        assert len(await foreign.transactions(MINE, mine, 10, after)) == 1
        assert await foreign.transactions(MINE, "cus_bus_other_0", 10, after) == []


def test_the_wall_is_around_every_table_of_tenants() -> None:
    owned = {table.name for table in metadata.sorted_tables if "business_id" in table.columns}
    assert owned == set(wall.TENANTS)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM public.customers",
        "SELECT * FROM customers JOIN public . wallets ON true",
        "SELECT * FROM customers, public.wallets",
        'SELECT * FROM "public"."wallets"',
        "WITH customers AS (SELECT 1) SELECT * FROM customers",
    ],
)
def test_no_way_around_the_wall(query: str) -> None:
    with pytest.raises(ValueError, match="without a schema"):
        walled(query)


def test_a_shared_query_names_no_table_of_tenants() -> None:
    with pytest.raises(ValueError, match="must be walled"):
        shared("SELECT count(*) FROM wallets")
    assert shared("SELECT shard FROM checkpoints").names == ()


def test_the_tenant_of_a_statement_is_the_callers() -> None:
    assert of(MINE, {"limit": 1}) == {"business_id": "bus_mine", "mode": "test", "limit": 1}
