"""The plans of hot queries on a grown database: by an index, nothing read whole, nothing sorted whole."""

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from services.api.lookups import CustomerLookup, EntryLookup
from services.api.queries import customer_lookups, entry_lookups
from services.api.queries import keyed as queries
from services.api.queries.customer_query import Query
from services.api.queries.exports import OPTIONS as EXPORTED
from services.api.queries.reader import KEYED, SEARCHED
from services.api.queries.wall import Statement, of, walled
from services.migrate import migrate_database
from tests.integration.lookup_rows import MINE, SHARDS, Rows, at
from tests.servers import fresh_database

CUSTOMERS = 20_000
Plan = dict[str, Any]


@pytest.fixture(scope="module")
def dsn(postgres: str) -> str:
    made = fresh_database(postgres, f"api_plans_{secrets.token_hex(4)}")
    migrate_database("views", made, SHARDS)
    rows = Rows(made)
    rows.many(CUSTOMERS, 4)
    rows.close()
    return made


def plan_of(dsn: str, options: str, statement: Statement, values: dict[str, Any]) -> Plan:
    """As the api would run it: prepared, with its session's settings, and run for its counts."""
    with psycopg.connect(dsn, options=options) as connection:
        connection.execute(b"PREPARE asked AS " + statement.query)
        given = sql.SQL(", ").join(sql.Literal(values[name]) for name in statement.names)
        explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked({})").format(given)
        [[[found]]] = connection.execute(explain).fetchall()
    plan: Plan = found["Plan"]
    return plan


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def indexes(plan: Plan) -> set[str]:
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


def rows_read(plan: Plan) -> int:
    """What scans took in, dropped rows too."""
    scans = [node for node in nodes(plan) if "Scan" in node["Node Type"] and "Plans" not in node]
    dropped = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(
        sum(
            (node["Actual Rows"] + sum(node.get(key, 0) for key in dropped)) * node["Actual Loops"]
            for node in scans
        )
    )


def expect(plan: Plan, index: set[str], rows_max: int, *, sorts: bool = False) -> None:
    kinds = {node["Node Type"] for node in nodes(plan)}
    assert indexes(plan) == index, plan
    assert "Seq Scan" not in {
        node["Node Type"] for node in nodes(plan) if node.get("Relation Name") != "checkpoints"
    }
    assert sorts or not kinds & {"Sort", "Incremental Sort"}, kinds
    assert rows_read(plan) <= rows_max


WHO = {"customer_id": "cus_c4ca4238a0b923820dcc509a6f75849b", "shard": 1}
PAGE = {"limit": 10, "offset": 0}
KEYS = [
    (queries._CUSTOMER, WHO, {"customers_pkey"}, 2),
    (queries._WALLETS, WHO, {"customers_pkey", "wallets_pkey"}, 3),
    (queries._ENTRIES, WHO | PAGE, {"customers_pkey", "ledger_entries_newest"}, 12),
    (queries._ENTRIES_OF_CURRENCY, WHO | PAGE | {"currency": "USD"}, {"customers_pkey", "ledger_entries_newest"}, 12),
    (walled(queries._CUSTOMERS + queries._CUSTOMERS_NEWEST), PAGE, {"customers_newest"}, 10),
    (entry_lookups._ONE, {"entry_id": "wle_x"}, {"ledger_entries_by_id"}, 1),
    (customer_lookups._ONE, WHO, {"customers_pkey", "wallets_pkey"}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "values", "index", "rows"), KEYS)
def test_reads_by_key(
    dsn: str, statement: Statement, values: dict[str, Any], index: set[str], rows: int
) -> None:
    plan = plan_of(dsn, KEYED, statement, of(MINE, values))
    expect(plan, index | indexes(plan) & {"checkpoints_pkey"}, rows + SHARDS)


def walk(rows: int = 10_000, **lookup: Any) -> tuple[Statement, dict[str, Any]]:
    query = Query(CustomerLookup(**lookup))
    return walled(query.walk(query.lookup.after, rows)), of(MINE, query.values)


def find(**lookup: Any) -> tuple[Statement, dict[str, Any]]:
    query = Query(CustomerLookup(**lookup))
    return walled(query.find(None, customer_lookups.MATCHES_MAX)), of(MINE, query.values)


def page(**lookup: Any) -> tuple[Statement, dict[str, Any]]:
    query = entry_lookups.Query(EntryLookup(**lookup))
    return query.page(), of(MINE, query.values)


AFTER = (1_770_000_000_000_000, "cus_x")
WALKS = [
    pytest.param(walk(), {"customers_newest", "wallets_pkey"}, 60, id="newest"),
    pytest.param(walk(after=AFTER, descending=False), {"customers_newest", "wallets_pkey"}, 60, id="from a cursor"),
    pytest.param(walk(order="name", after=("nguyen", "cus_x")), {"customers_by_name", "wallets_pkey"}, 60, id="by name"),
    pytest.param(
        walk(order="balance", currency="USD", after=(30_000, "cus_x")),
        {"wallets_by_balance", "customers_pkey", "wallets_pkey"}, 90, id="by balance",
    ),
    pytest.param(walk(words=("nguyen",), rows=1_000), {"customers_newest", "wallets_pkey"}, 60, id="a common word"),
    pytest.param(walk(words=("zzz",), rows=1_000), {"customers_newest", "wallets_pkey"}, 1_001, id="a glance ends"),
    pytest.param(page(), {"ledger_entries_of_tenant"}, 26, id="all entries"),
    pytest.param(
        page(after=(1_770_000_000_000_000, 1, 5), created_at_gte=at(3), descending=False),
        {"ledger_entries_of_tenant"}, 26, id="entries from a cursor",
    ),
    pytest.param(page(cause="refund"), {"ledger_entries_of_tenant"}, 10_000, id="a rare cause ends"),
    pytest.param(page(customer_id=WHO["customer_id"]), {"ledger_entries_newest"}, 26, id="a customer's entries"),
    pytest.param(page(reference="ord_" + str(WHO["customer_id"])), {"ledger_entries_by_reference"}, 1, id="a reference"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "index", "rows"), WALKS)
def test_pages_walk_an_index(
    dsn: str, asked: tuple[Statement, dict[str, Any]], index: set[str], rows: int
) -> None:
    plan = plan_of(dsn, SEARCHED, *asked)
    expect(plan, index & (indexes(plan) | {*index} - {"wallets_pkey"}), rows)


FINDS = [
    pytest.param(find(words=("zebedee",)), {"customers_search"}, id="a rare word"),
    pytest.param(find(words=("zebedee", "p1000@")), {"customers_search"}, id="two words"),
    pytest.param(find(metadata=(("number", "77"),)), {"customers_metadata"}, id="metadata"),
    pytest.param(find(currency="USD", balance_gte=65_500), {"wallets_by_balance", "customers_pkey"}, id="balances"),
    pytest.param(find(status="blocked"), {"customers_not_active"}, id="a status"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "index"), FINDS)
def test_few_matches_are_found_by_their_index(
    dsn: str, asked: tuple[Statement, dict[str, Any]], index: set[str]
) -> None:
    plan = plan_of(dsn, SEARCHED, *asked)
    expect(plan, index | indexes(plan) & {"wallets_pkey"}, 200, sorts=True)


@pytest.mark.parametrize(
    ("lookup", "index"),
    [({}, "ledger_entries_of_tenant"), ({"customer_id": WHO["customer_id"]}, "ledger_entries_newest")],
)
def test_an_export_streams_in_the_order_of_an_index(dsn: str, lookup: dict[str, Any], index: str) -> None:
    query = entry_lookups.Query(EntryLookup(**lookup))
    plan = plan_of(dsn, EXPORTED, query.stream(), of(MINE, query.values))
    expect(plan, {index}, 5 * CUSTOMERS)
