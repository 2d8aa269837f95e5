"""The plans of reads of what upstream told, on a grown database: by an index, and joins to the page only."""

import secrets
from typing import Any

import psycopg
import pytest

from events.foreign import SUBSCRIPTION_OVER
from services.api.foreign_ports import (
    DISPUTES,
    LICENCE_KEYS,
    PAYMENTS,
    REFUNDS,
    SUBSCRIPTIONS,
    Kind,
)
from services.api.queries import foreign_sql
from services.api.queries.reader import KEYED, SEARCHED
from services.api.queries.wall import Statement, of
from services.migrate import migrate_database
from tests.integration.lookup_rows import MINE, SHARDS, START
from tests.integration.test_api_plans import expect, indexes, plan_of
from tests.servers import fresh_database

CUSTOMERS = 2_000
NUMBER = 8_000
PAGE = {"limit": 10, "offset": 0}
WHO = {"customer_id": "cus_7"}
COMMON = (
    "'bus_mine', 'test', 'cus_' || g %% 2000, g %% 4, g::text, timestamptz '2026-01-01' + g * interval '1 minute', now(), "
    "'{}', jsonb_build_object('filler', repeat('x', 200))"
)
COLUMNS = "business_id, mode, customer_id, shard, stamp, created_at, updated_at, known, object"
ROWS = {
    "payments": (
        "payment_id, status, currency, total_amount_minor, subscription_id, brand_id, product_ids",
        "'pay_' || g, CASE WHEN g %% 500 = 0 THEN 'failed' ELSE 'succeeded' END, 'USD', 100, 'sub_' || g %% 4000, 'brd', "
        "ARRAY['pdt_' || CASE WHEN g %% 1000 = 0 THEN 'rare' ELSE 'common' END]",
    ),
    "refunds": (
        "refund_id, payment_id, status, amount_minor",
        "'ref_' || g, 'pay_' || g, CASE WHEN g %% 500 = 0 THEN 'pending' ELSE 'succeeded' END, 5",
    ),
    "disputes": (
        "dispute_id, payment_id, status, stage",
        "'dp_' || g, 'pay_' || g, 'dispute_won', 'dispute'",
    ),
    "subscriptions": (
        "subscription_id, status, brand_id, cancel_at_next_billing_date",
        "'sub_' || g, CASE WHEN g %% 1000 = 0 THEN 'on_hold' ELSE 'active' END, 'brd', false",
    ),
    "licence_keys": ("licence_key_id, status, source", "'lic_' || g, 'active', 'auto'"),
}


@pytest.fixture(scope="module")
def dsn(postgres: str) -> str:
    made = fresh_database(postgres, f"foreign_plans_{secrets.token_hex(4)}")
    migrate_database("views", made, SHARDS)
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO customers (business_id, mode, customer_id, shard, name, email, created_at, updated_at) "
            "SELECT 'bus_mine', 'test', 'cus_' || g, g %% 4, 'n', 'e', now(), now() FROM generate_series(1, %s) g",
            [CUSTOMERS],
        )
        for table, (names, values) in ROWS.items():
            connection.execute(
                f"INSERT INTO {table} ({COLUMNS}, {names}) SELECT {COMMON}, {values} FROM generate_series(1, %s) g",
                [NUMBER],
            )
        connection.execute(
            "INSERT INTO licence_key_instances "
            "(business_id, mode, instance_id, licence_key_id, customer_id, shard, created_at, name) "
            "SELECT 'bus_mine', 'test', 'lki_' || g, 'lic_' || g, 'cus_' || g %% 2000, g %% 4, now(), 'n' "
            "FROM generate_series(1, %s) g",
            [NUMBER],
        )
        connection.execute(
            "INSERT INTO requests SELECT 'bus_mine', 'test', 'cus_' || g %% 2000, 'ref_' || g, g %% 4, 'refund', "
            "'pending', 'pay_' || g, 'USD', 5, timestamptz '2026-01-01' + g * interval '1 minute', now() "
            "FROM generate_series(1, %s) g",
            [NUMBER],
        )
        connection.execute("ANALYZE")
    return made


PARTS = {"refunds_of_payment", "disputes_of_payment"}
JOINED = {
    PAYMENTS: PARTS,
    REFUNDS: {"payments_pkey"},
    DISPUTES: {"payments_pkey"},
    SUBSCRIPTIONS: set(),
    LICENCE_KEYS: {"licence_key_instances_pkey"},
}
IDS = {PAYMENTS: "pay_7", REFUNDS: "ref_7", DISPUTES: "dp_7", SUBSCRIPTIONS: "sub_7", LICENCE_KEYS: "lic_7"}
ALWAYS = {"customers_pkey", "checkpoints_pkey"}


def indexed(plan: dict[str, Any], kind: Kind, wanted: str, rows_max: int, *, sorts: bool = False) -> None:
    """By the index wanted; beside it only those that keys are read by. A payment's newest dispute is sorted out of few."""
    sorts = sorts or kind is PAYMENTS
    allowed = ALWAYS | JOINED[kind] | {f"{kind.table}_pkey"}
    expect(plan, {wanted} | indexes(plan) & allowed, rows_max + SHARDS, sorts=sorts)


@pytest.mark.parametrize("kind", JOINED)
def test_one_is_read_by_its_key(dsn: str, kind: Kind) -> None:
    plan = plan_of(dsn, KEYED, foreign_sql.one_of(kind), of(MINE, {"id": IDS[kind]}))
    indexed(plan, kind, f"{kind.table}_pkey", 6, sorts=True)  # sorts the one row


def test_a_payment_is_read_with_its_parts(dsn: str) -> None:
    plan = plan_of(dsn, KEYED, foreign_sql.WHOLE, of(MINE, {"id": "pay_7"}))
    indexed(plan, PAYMENTS, "payments_pkey", 10, sorts=True)


SINCE = {"created_at_gte": START}
LISTS = [
    *((kind, {}, KEYED, f"{kind.table}_newest", 60) for kind in JOINED),
    *((kind, WHO, KEYED, f"{kind.table}_of_customer", 60) for kind in JOINED),
    *((kind, SINCE, SEARCHED, f"{kind.table}_newest", 60) for kind in JOINED),
    (PAYMENTS, {"status": "succeeded"}, SEARCHED, "payments_newest", 70),
    (PAYMENTS, {"status": "failed"}, SEARCHED, "payments_not_succeeded", 60),
    (PAYMENTS, {"subscription_id": "sub_9"}, SEARCHED, "payments_of_subscription", 40),
    (PAYMENTS, {"currency": "USD"} | WHO, SEARCHED, "payments_of_customer", 60),
    (PAYMENTS, {"product_id": "pdt_common"}, SEARCHED, "payments_newest", 70),
    (REFUNDS, {"status": "pending"}, SEARCHED, "refunds_not_succeeded", 60),
    (SUBSCRIPTIONS, {"status": "on_hold"}, SEARCHED, "subscriptions_by_status", 60),
    (SUBSCRIPTIONS, {"status_not": [*SUBSCRIPTION_OVER]} | WHO, SEARCHED, "subscriptions_of_customer", 60),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "where", "session", "index", "rows"), LISTS)
def test_a_page_walks_an_index_and_joins_to_its_rows_only(
    dsn: str, kind: Kind, where: dict[str, Any], session: str, index: str, rows: int
) -> None:
    statement = foreign_sql.page_of(kind, tuple(sorted(where)))
    indexed(plan_of(dsn, session, statement, of(MINE, where | PAGE)), kind, index, rows)


def test_a_deep_page_joins_to_its_rows_only(dsn: str) -> None:
    statement = foreign_sql.page_of(PAYMENTS, ())
    plan = plan_of(dsn, KEYED, statement, of(MINE, {"limit": 10, "offset": 3_000}))
    indexed(plan, PAYMENTS, "payments_newest", 2 * 3_010 + 60)


def test_few_matches_are_found_by_their_index(dsn: str) -> None:
    rare = plan_of(
        dsn,
        SEARCHED,
        foreign_sql.page_of(PAYMENTS, ("product_id",)),
        of(MINE, PAGE | {"product_id": "pdt_rare"}),
    )
    indexed(rare, PAYMENTS, "payments_of_product", 110, sorts=True)
    where = {"subscription_id": "sub_9"}
    of_one = plan_of(dsn, SEARCHED, foreign_sql.page_of(REFUNDS, tuple(where)), of(MINE, where | PAGE))
    expect(
        of_one, {"payments_of_subscription", "refunds_of_payment", "refunds_pkey", "payments_pkey", "customers_pkey"}, 60,
        sorts=True,
    )  # fmt: skip


TAB: list[tuple[Statement, dict[str, Any]]] = [
    (foreign_sql.TRANSACTIONS, {}),
    (
        foreign_sql.TRANSACTIONS_AFTER,
        {"after_created_at": START.replace(year=2027), "after_payment_id": "pay_9"},
    ),
]


@pytest.mark.parametrize(("statement", "after"), TAB)
def test_a_customers_tab(dsn: str, statement: Statement, after: dict[str, Any]) -> None:
    plan = plan_of(dsn, KEYED, statement, of(MINE, WHO | {"limit": 10} | after))
    indexed(plan, PAYMENTS, "payments_of_customer", 60)


REQUESTED: list[tuple[Statement, dict[str, Any]]] = [
    (foreign_sql.REQUESTS, {}),
    (foreign_sql.REQUESTS_AFTER, {"after_created_at": START.replace(year=2027), "after_request_id": "ref_9"}),
]


@pytest.mark.parametrize(("statement", "after"), REQUESTED)
def test_a_customers_requests(dsn: str, statement: Statement, after: dict[str, Any]) -> None:
    plan = plan_of(dsn, KEYED, statement, of(MINE, WHO | {"limit": 10} | after))
    expect(plan, {"requests_of_customer"}, 10)


def test_instances(dsn: str) -> None:
    """Each with its key, and that with none that is newer."""
    one = plan_of(dsn, KEYED, foreign_sql.INSTANCE, of(MINE, {"id": "lki_7"}))
    expect(
        one,
        {"licence_key_instances_by_id", "licence_keys_pkey"} | indexes(one) & ALWAYS,
        3 + SHARDS,
        sorts=True,
    )
    newest = plan_of(dsn, KEYED, foreign_sql.INSTANCES, of(MINE, PAGE))
    expect(newest, {"licence_key_instances_newest", "licence_keys_pkey"}, 30)
    of_key = plan_of(dsn, KEYED, foreign_sql.INSTANCES_OF_KEY, of(MINE, PAGE | {"licence_key_id": "lic_7"}))
    expect(of_key, {"licence_key_instances_pkey", "licence_keys_pkey"}, 3, sorts=True)  # of one key: few
