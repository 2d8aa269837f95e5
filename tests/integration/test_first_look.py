"""What `up` shows of a ledger: one customer, and the entries of that one."""

from collections.abc import Iterator

import pytest

from services.migrate import migrate_database
from services.standalone.first_look import ENTRIES_SHOWN, NOTHING_SEEN, FirstLook, first_look
from tests.integration.lookup_rows import MINE, OTHER, SHARDS, Rows
from tests.servers import fresh_database


@pytest.fixture
def dsn(postgres: str) -> str:
    made = fresh_database(postgres, "first_look_views")
    migrate_database("views", made, SHARDS)
    return made


@pytest.fixture
def rows(dsn: str) -> Iterator[Rows]:
    made = Rows(dsn)
    yield made
    made.close()


def look(dsn: str) -> FirstLook:
    return first_look(dsn, MINE.business_id, MINE.mode, pytest.fail)


def test_the_last_entries_are_those_of_the_customer_that_is_shown(dsn: str, rows: Rows) -> None:
    for customer in ("cus_a", "cus_b", "cus_blocked"):
        rows.customer(customer, 0)
    for minute in range(ENTRIES_SHOWN + 2):
        rows.entry("cus_b", minute, reference=f"b {minute}")
        rows.entry("cus_a", minute - 0.5, reference=f"a {minute}")
    rows.entry("cus_blocked", 100)
    rows.block("cus_blocked")
    rows.customer("cus_other", 0, tenant=OTHER)
    rows.entry("cus_other", 200, tenant=OTHER)
    found = look(dsn)
    assert (found.customers, found.customer) == (3, "cus_b")
    newest = [f"b {minute}" for minute in reversed(range(2, ENTRIES_SHOWN + 2))]
    assert [entry.reference for entry in found.entries] == newest


def test_who_has_no_wallet_yet_is_an_example_too(dsn: str, rows: Rows) -> None:
    rows.customer("cus_b", 0)
    rows.customer("cus_a", 1)
    assert look(dsn) == FirstLook(2, "cus_a", {}, {}, [])


def test_an_empty_ledger_has_no_example(dsn: str) -> None:
    assert look(dsn) == NOTHING_SEEN
