"""Keys, queries and visibility on a real PostgreSQL, over rows that the real projector wrote."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from events.ids import Tenant
from events.sharding import shard_of
from services.api import keys
from services.api.keys import KeyRefused, Scope, create_key, list_keys, revoke_key, rotate_key, secret_hash
from services.api.ports import BlocklistFilter, CustomerFilter, Page, ViewsTooSlow, ViewsUnavailable
from services.api.queries.blocklist import PostgresBlocklist
from services.api.queries.keyed import PostgresQueries
from services.api.queries.reader import Reader
from services.api.queries.wall import shared
from services.api.visibility import PostgresVisibility
from services.migrate import migrate_database
from services.sessions import CHANNEL
from services.standalone.postgres import Postgres

SHARDS = 4
MINE = Tenant("bus_mine", "test")
LIVE = Tenant("bus_mine", "live")
OTHER = Tenant("bus_other", "test")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    made = database("api_views")
    migrate_database("views", made, SHARDS)
    return made


@pytest.fixture
async def queries(dsn: str) -> AsyncIterator[PostgresQueries]:
    made = PostgresQueries(dsn, SHARDS)
    await made.open()
    yield made
    await made.close()


def register(dsn: str, tenant: Tenant, customer_id: str, number: int, name: str = "Ana") -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO customers (business_id, mode, customer_id, shard, name, email, phone_number, metadata, "
            "preferred_locale, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, NULL, %s, NULL, %s, %s)",
            [
                tenant.business_id, tenant.mode, customer_id, shard_of(customer_id, SHARDS), name,
                f"{customer_id}@Example.com", '{"tier": "gold", "age": 3}', *[START + timedelta(minutes=number)] * 2,
            ],
        )  # fmt: skip


def enter(dsn: str, tenant: Tenant, customer_id: str, sequence: int, currency: str = "USD") -> None:
    shard = shard_of(customer_id, SHARDS)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO ledger_entries (shard, sequence, business_id, mode, customer_id, entry_id, currency, is_credit, "
            "amount_minor, balance_before_minor, balance_after_minor, cause, counter_account, reason, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, true, 5, 0, 5, 'adjustment', 'x', 'why', %s)",
            [shard, sequence, *_who(tenant, customer_id), f"wle_{shard}_{sequence}", currency, START],
        )
        connection.execute(
            "INSERT INTO wallets (business_id, mode, customer_id, currency, balance_minor, shard, sequence, updated_at) "
            "VALUES (%s, %s, %s, %s, 5, %s, %s, %s) ON CONFLICT DO NOTHING",
            [*_who(tenant, customer_id), currency, shard, sequence, START],
        )
        connection.execute("UPDATE checkpoints SET sequence = %s WHERE shard = %s", [sequence, shard])


def _who(tenant: Tenant, customer_id: str) -> tuple[str, str, str]:
    return tenant.business_id, tenant.mode, customer_id


async def test_a_customer_is_his_tenants(dsn: str, queries: PostgresQueries) -> None:
    register(dsn, MINE, "cus_1", 1, "Nguyễn")
    enter(dsn, MINE, "cus_1", 7)
    sequence, row = await queries.customer(MINE, "cus_1")
    assert row is not None
    assert (sequence, row.name, row.metadata, row.phone_number) == (
        7,
        "Nguyễn",
        {"tier": "gold", "age": 3},
        None,
    )
    assert row.created_at == START + timedelta(minutes=1)
    for stranger in (LIVE, OTHER):
        assert await queries.customer(stranger, "cus_1") == (7, None)
        assert await queries.wallets(stranger, "cus_1") == (7, None, [])
        assert await queries.entries(stranger, "cus_1", Page(10, 0), None) == (7, None)
        assert await queries.customers(stranger, Page(10, 0), CustomerFilter()) == []


async def test_customers_are_found(dsn: str, queries: PostgresQueries) -> None:
    for number, name in enumerate(("Ana", "Bánh 100%", "Chi_2", "ANA MARIA")):
        register(dsn, MINE, f"cus_{number}", number, name)

    async def names(page: Page = Page(10, 0), **where: object) -> list[str]:  # noqa: B008 immutable
        return [row.name for row in await queries.customers(MINE, page, CustomerFilter(**where))]  # type: ignore[arg-type]

    assert await names() == ["ANA MARIA", "Chi_2", "Bánh 100%", "Ana"]
    assert await names(Page(2, 1)) == ["Chi_2", "Bánh 100%"]
    assert await names(name="ana") == ["ANA MARIA", "Ana"]
    assert await names(name="%") == ["Bánh 100%"]
    assert await names(name="_") == ["Chi_2"]
    assert await names(name="\\") == []
    assert await names(email="CUS_2@example.COM") == ["Chi_2"]
    assert await names(email="cus_2") == []
    since, until = START + timedelta(minutes=1), START + timedelta(minutes=2)
    assert await names(created_at_gte=since, created_at_lte=until) == ["Chi_2", "Bánh 100%"]
    assert await names(name="'; DROP TABLE customers; --") == []


def block(dsn: str, tenant: Tenant, customer_id: str, number: int, unblocked: datetime | None = None) -> None:
    """The entry is called `blk_<number>`."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO blocklist_entries VALUES (%s, %s, %s, %s, %s, %s, 'why', %s, %s)",
            [
                tenant.business_id, tenant.mode, f"blk_{number}", customer_id, shard_of(customer_id, SHARDS),
                customer_id, START + timedelta(minutes=number), unblocked,
            ],
        )  # fmt: skip


async def test_the_blocklist_is_its_tenants_and_found_by_parts(dsn: str, queries: PostgresQueries) -> None:
    blocklist = PostgresBlocklist(queries, queries.searching)
    for number, tenant in enumerate((MINE, MINE, MINE, OTHER)):
        register(dsn, tenant, f"cus_{number}", number)
        block(dsn, tenant, f"cus_{number}", number, unblocked=START if number == 2 else None)

    async def found(page: Page = Page(10, 0), **where: object) -> list[str]:  # noqa: B008 immutable
        rows = await blocklist.entries(MINE, page, BlocklistFilter(**where))  # type: ignore[arg-type]
        return [row.customer_id for row in rows]

    assert await found() == ["cus_1", "cus_0"]
    assert await found(Page(1, 1)) == ["cus_0"]
    assert await found(identifier="CUS_1@exam") == await found(identifier="US_1") == ["cus_1"]
    assert await found(identifier="%") == []
    assert await found(created_at_gte=START + timedelta(minutes=1)) == ["cus_1"]
    assert await found(created_at_lte=START) == ["cus_0"]
    ended = await blocklist.entry(MINE, "blk_2")
    assert ended is not None
    assert (ended.customer_id, ended.email, ended.reason) == ("cus_2", "cus_2@Example.com", "why")
    assert ended.unblocked_at == START
    for tenant, name in ((MINE, "blk_3"), (LIVE, "blk_1"), (OTHER, "blk_1")):
        assert await blocklist.entry(tenant, name) is None
    assert await blocklist.addressed(MINE, "cus_1@EXAMPLE.com") == ["cus_1"]
    assert await blocklist.addressed(OTHER, "cus_1@example.com") == []


async def test_an_address_of_several_is_told_from_that_of_one(dsn: str, queries: PostgresQueries) -> None:
    for number in range(3):
        register(dsn, MINE, f"cus_{number}", number)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE customers SET email = 'both@example.com'")
    blocklist = PostgresBlocklist(queries, queries.searching)
    assert len(await blocklist.addressed(MINE, "both@example.com")) == 2
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE customers SET closed_at = now() WHERE customer_id <> 'cus_1'")
    assert await blocklist.addressed(MINE, "both@example.com") == ["cus_1"], "who is closed cannot be blocked"


async def test_entries_and_wallets(dsn: str, queries: PostgresQueries) -> None:
    register(dsn, MINE, "cus_1", 1)
    assert await queries.entries(MINE, "cus_1", Page(10, 0), None) == (0, [])
    for sequence in range(1, 4):
        enter(dsn, MINE, "cus_1", sequence)
    enter(dsn, MINE, "cus_1", 4, "INR")
    sequence, rows = await queries.entries(MINE, "cus_1", Page(2, 1), None)
    assert sequence == 4
    assert rows is not None
    assert [row.entry_id[-1] for row in rows] == ["3", "2"]
    assert (rows[0].amount, rows[0].reason, rows[0].created_at) == (5, "why", START)
    _, rupees = await queries.entries(MINE, "cus_1", Page(10, 0), "INR")
    assert rupees is not None
    assert [row.currency for row in rupees] == ["INR"]
    assert (await queries.entries(MINE, "cus_1", Page(0, 0), None))[1] == []
    _, created_at, wallets = await queries.wallets(MINE, "cus_1")
    assert created_at == START + timedelta(minutes=1)
    assert sorted((wallet.currency, wallet.balance) for wallet in wallets) == [("INR", 5), ("USD", 5)]


async def test_reads_survive_a_server_that_dropped_their_connections(
    dsn: str, queries: PostgresQueries
) -> None:
    register(dsn, MINE, "cus_1", 1)
    await asyncio.gather(*(queries.customer(MINE, "cus_1") for _ in range(20)))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    found = await asyncio.gather(*(queries.customer(MINE, "cus_1") for _ in range(20)))
    assert all(row is not None for _, row in found)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of our own, to freeze and kill."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        made = Postgres(folder / "postgres")
        made.start()
        made.wait_ready()
        yield made
        made.kill()


async def test_a_server_that_is_frozen_or_gone_is_said_to_be_in_time(server: Postgres) -> None:
    dsn = server.create_database("views")
    migrate_database("views", dsn, SHARDS)
    queries = PostgresQueries(dsn, SHARDS)
    await queries.open()
    try:
        await _outage(server, queries)
    finally:
        await queries.close()


async def _outage(server: Postgres, queries: PostgresQueries) -> None:
    async def asks(count: int) -> list[object]:
        return list(
            await asyncio.gather(
                *(queries.customer(MINE, "cus_1") for _ in range(count)), return_exceptions=True
            )
        )

    assert await asks(3) == [(0, None)] * 3
    server.freeze()
    try:
        async with asyncio.timeout(6):
            assert {type(one) for one in await asks(20)} == {ViewsUnavailable}
    finally:
        server.thaw()
    assert await asks(3) == [(0, None)] * 3
    server.kill()
    async with asyncio.timeout(6):
        assert {type(one) for one in await asks(20)} == {ViewsUnavailable}
    server.start()
    server.wait_ready()
    async with asyncio.timeout(10):
        while await asks(1) != [(0, None)]:
            pass


async def test_of_what_takes_too_long_only_a_lookup_could_be_narrower(queries: PostgresQueries) -> None:
    slow = shared("SELECT pg_sleep(3)")
    readers = (queries, queries.searching)
    said = await asyncio.gather(*(reader.run(slow, {}) for reader in readers), return_exceptions=True)
    assert [type(one) for one in said] == [ViewsUnavailable, ViewsTooSlow]


async def test_a_lookup_that_was_repeated_may_be_too_slow_as_well(
    queries: PostgresQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, tries = Reader._once, 0

    async def losing(self: Reader, *asked: Any) -> list[Any]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise psycopg.OperationalError("the connection is dead")
        return await once(self, *asked)

    monkeypatch.setattr(Reader, "_once", losing)
    with pytest.raises(ViewsTooSlow):
        await queries.searching.run(shared("SELECT pg_sleep(3)"), {})
    assert tries == 2


async def test_waits_end_at_the_notification(dsn: str, queries: PostgresQueries) -> None:
    looks = 0

    async def no_look() -> list[tuple[int, int]]:
        nonlocal looks
        looks += 1
        return []

    visibility = PostgresVisibility(dsn, SHARDS, no_look)
    await visibility.start()
    try:
        async with asyncio.timeout(5):
            while looks < 2:  # noqa: ASYNC110 the second look follows LISTEN
                await asyncio.sleep(0.01)
        waiter = asyncio.create_task(visibility.wait(2, 9, 5))
        await asyncio.sleep(0)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, "nonsense 1:3 2:9"])
        assert await asyncio.wait_for(waiter, 3)
        assert await visibility.wait(1, 3, 0)
    finally:
        await visibility.stop()


async def test_a_listener_that_was_cut_off_comes_back_and_believes_the_server(
    dsn: str, queries: PostgresQueries
) -> None:
    visibility = PostgresVisibility(dsn, SHARDS, queries.checkpoints)
    await visibility.start()
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            listeners = (
                "SELECT pid FROM pg_stat_activity "
                "WHERE query LIKE 'LISTEN%' AND state = 'idle' AND datname = current_database()"
            )
            async with asyncio.timeout(10):
                while not (old := await (await connection.execute(listeners)).fetchone()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, "2:9"])
                assert await visibility.wait(2, 9, 3)
                await connection.execute("SELECT pg_terminate_backend(%s)", [old[0]])
                await connection.execute("UPDATE checkpoints SET sequence = 5 WHERE shard = 3")
                while (new := await (await connection.execute(listeners)).fetchone()) in (None, old):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert new is not None
        assert await visibility.wait(3, 5, 3)  # what it missed, it has looked up
        assert not await visibility.wait(2, 9, 0)  # what was lost in a crash, it does not promise any more
    finally:
        await visibility.stop()


async def test_a_key_lives_from_creation_to_revocation(dsn: str, queries: PostgresQueries) -> None:
    record, secret = create_key(dsn, "bus_mine", "test", "shop", [Scope.WRITE, Scope.READ])
    assert secret.startswith("wl_test_")
    assert len(secret) == len("wl_test_") + 43
    assert secret.startswith(record.prefix)
    assert len(record.prefix) == len("wl_test_") + 4
    with psycopg.connect(dsn) as connection:
        (row,) = connection.execute("SELECT row_to_json(api_keys)::text FROM api_keys").fetchall()
    assert secret[len(record.prefix) :] not in row[0]
    caller = await queries.key(secret_hash(secret))
    assert caller is not None
    assert (caller.key_id, caller.tenant, caller.scopes) == (
        record.key_id,
        MINE,
        frozenset({"read", "write"}),
    )
    assert (await queries.key(secret_hash(secret + "x"))) is None
    first = revoke_key(dsn, record.key_id)
    assert first.revoked_at is not None
    assert revoke_key(dsn, record.key_id) == first
    assert await queries.key(secret_hash(secret)) is None


def test_two_keys_of_a_name_live_at_most(dsn: str) -> None:
    first, _ = create_key(dsn, "bus_mine", "test", "shop")
    second, _ = create_key(dsn, "bus_mine", "test", "shop")
    create_key(dsn, "bus_mine", "live", "shop")
    create_key(dsn, "bus_mine", "test", "other")
    with pytest.raises(KeyRefused, match="revoke one first"):
        create_key(dsn, "bus_mine", "test", "shop")
    revoke_key(dsn, first.key_id)
    create_key(dsn, "bus_mine", "test", "shop")
    assert len(list_keys(dsn)) == 5
    assert second.key_id in {record.key_id for record in list_keys(dsn, "bus_mine")}


async def test_rotation_overlaps(dsn: str, queries: PostgresQueries) -> None:
    old, old_secret = create_key(dsn, "bus_mine", "test", "shop", [Scope.READ])
    new, new_secret = rotate_key(dsn, old.key_id, timedelta(minutes=5))
    assert (new.name, new.scopes, new.expires_at) == (old.name, old.scopes, None)
    callers = [await queries.key(secret_hash(secret)) for secret in (old_secret, new_secret)]
    assert callers[0] is not None
    assert callers[1] is not None
    assert 0 < callers[0].expires - datetime.now(UTC).timestamp() <= 300
    assert callers[1].expires == float("inf")
    with pytest.raises(KeyRefused):
        rotate_key(dsn, new.key_id)


def test_the_end_of_a_rotation_is_inherited_by_no_key(dsn: str) -> None:
    """The key that a rotation made has leaked: the old one, which ends soon, is no model for the next."""
    end = datetime(2099, 1, 1, tzinfo=UTC)
    old, _ = create_key(dsn, "bus_mine", "test", "shop", expires=end)
    leaked, _ = rotate_key(dsn, old.key_id)
    assert leaked.expires_at == end
    revoke_key(dsn, leaked.key_id)
    with pytest.raises(KeyRefused, match="was rotated already"):
        rotate_key(dsn, old.key_id)
    assert len(list_keys(dsn)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"business": ""}, {"business": "a b"}, {"mode": "prod"}, {"name": ""}, {"name": "x\n"}, {"scopes": []},
        {"scopes": ["root"]}, {"expires": datetime(2020, 1, 1, tzinfo=UTC)}, {"expires": datetime(2030, 1, 1)},
    ],
)  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    right = {"business": "bus_mine", "mode": "test", "name": "shop", "scopes": [Scope.READ]}
    with pytest.raises(KeyRefused):
        keys.create_key("postgresql://never-asked", **(right | wrong))  # type: ignore[arg-type]
