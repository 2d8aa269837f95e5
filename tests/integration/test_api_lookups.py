"""Lookups on a real PostgreSQL: what is found, in which order, how far, and for whom."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from services.api import lookups
from services.api.lookups import Counted, CustomerLookup, EntryLookup
from services.api.queries import customer_lookups, entry_lookups
from services.api.queries.lookups import PostgresLookups
from services.api.queries.reader import SEARCHED, Reader
from services.migrate import migrate_database
from tests.integration.lookup_rows import LIVE, MINE, OTHER, SHARDS, Rows, at


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    made = database("lookups")
    migrate_database("views", made, SHARDS)
    return made


@pytest.fixture
def rows(dsn: str) -> Iterator[Rows]:
    made = Rows(dsn)
    yield made
    made.close()


@pytest.fixture
async def found(dsn: str) -> AsyncIterator[PostgresLookups]:
    reader = Reader(dsn, SEARCHED, 2)
    await reader.open()
    yield PostgresLookups(reader)
    await reader.close()


async def ids(found: PostgresLookups, **lookup: Any) -> list[str]:
    """All pages."""
    items: list[str] = []
    after = None
    while True:
        page = await found.customers(MINE, CustomerLookup(**lookup, after=after))
        items += [row.customer_id for row in page.items]
        if (after := page.next) is None:
            return items


@pytest.fixture
def people(rows: Rows) -> Rows:
    for number, name in enumerate(("Nguyễn Văn Ân", "ĐỖ Thị Mai", "nguyen van b", "Łukasz 100%", "Müller_X")):
        rows.customer(
            f"cus_{number}", number, name, metadata=f'{{"tier": "gold", "n": {number}, "vip": true}}'
        )
    return rows


SEARCHES = [
    ("nguyen", ["cus_2", "cus_0"]),
    ("NGUYỄN", ["cus_2", "cus_0"]),
    ("Nguyê\u0303n", ["cus_2", "cus_0"]),
    ("van nguyen", ["cus_2", "cus_0"]),
    ("do", ["cus_1"]),
    ("đỗ mai", ["cus_1"]),
    ("lukasz", ["cus_3"]),
    ("muller_x", ["cus_4"]),
    ("100%", ["cus_3"]),
    ("%", ["cus_3"]),
    ("_", ["cus_4", "cus_3", "cus_2", "cus_1", "cus_abcdefghijklmnopqrstu", "cus_0"]),
    ("\\", []),
    ("CUS_3", ["cus_3"]),
    ("cus_1@example.COM", ["cus_1"]),
    ("mai cus", ["cus_1"]),
    ("nguyen mai", []),
    ("cus_ABCDEFGHIJKLmnopqrstu", ["cus_abcdefghijklmnopqrstu"]),
    ("us_abcdefghijklmnopqrstu", ["cus_abcdefghijklmnopqrstu"]),
    ("xus_abcdefghijklmnopqrstu", []),
    ("cus_abcdefghijklmnopqrstu@example.com", ["cus_abcdefghijklmnopqrstu"]),
    ("cus_abcdefghijklmnopqrstu@example.org", []),
    ("'; DROP TABLE customers; --", []),
]


@pytest.mark.parametrize("glance", [2, 1_000])
async def test_search_ignores_accents_and_case(
    people: Rows, found: PostgresLookups, glance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.customer("cus_abcdefghijklmnopqrstu", 0.5, "Zoë")
    monkeypatch.setattr(customer_lookups, "GLANCE_ROWS", glance)
    answers = {search: await ids(found, words=tuple(search.split())) for search, _ in SEARCHES}
    assert answers == dict(SEARCHES)


async def test_filters(people: Rows, found: PostgresLookups) -> None:
    for number, balance in enumerate((100, 0, 300)):
        people.balance(f"cus_{number}", balance)
    assert await ids(found, metadata=(("tier", "gold"), ("n", "2"))) == ["cus_2"]
    assert len(await ids(found, metadata=(("vip", "true"),))) == 5
    assert await ids(found, metadata=(("n", "gold"),)) == []
    assert await ids(found, created_at_gte=at(1), created_at_lte=at(2)) == ["cus_2", "cus_1"]
    assert await ids(found, currency="USD", balance_gte=100) == ["cus_2", "cus_0"]
    assert await ids(found, currency="USD", balance_lte=0) == [
        "cus_4",
        "cus_3",
        "cus_1",
    ]  # untouched are at 0
    assert await ids(found, currency="USD", balance_gte=101, order="balance") == ["cus_2"]
    assert await ids(found, currency="INR", balance_gte=1) == []
    people.block("cus_3")
    assert await ids(found, status="blocked") == ["cus_3"]
    assert await ids(found, status="closed") == []
    people.balance("cus_3", 9)
    assert await ids(found, status="active", words=("cus",), metadata=(("tier", "gold"),), limit=2, currency="USD",
                     balance_gte=100, created_at_lte=at(1), order="balance") == ["cus_0"]  # fmt: skip
    assert len(await ids(found, status="active")) == 4


@pytest.mark.parametrize("walked", [1, 3, 10_000])
async def test_every_order_pages_through_all(
    people: Rows, found: PostgresLookups, walked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_lookups, "GLANCE_ROWS", walked)
    monkeypatch.setattr(customer_lookups, "WALK_ROWS", walked)
    for number in range(5):
        people.balance(f"cus_{number}", number % 2)
    orders = {
        "created_at": ["cus_0", "cus_1", "cus_2", "cus_3", "cus_4"],
        "name": ["cus_1", "cus_3", "cus_4", "cus_0", "cus_2"],
        "balance": ["cus_0", "cus_2", "cus_4", "cus_1", "cus_3"],
    }
    for limit in (1, 2, 3, 100):
        for order, ascending in orders.items():
            asked = {"order": order, "currency": "USD", "limit": limit}
            assert await ids(found, descending=False, **asked) == ascending
            assert await ids(found, descending=True, **asked) == ascending[::-1]
        nguyen = {"words": ("nguyen",), "limit": limit}
        assert await ids(found, **nguyen) == ["cus_2", "cus_0"]
        assert await ids(found, order="name", descending=False, **nguyen) == ["cus_0", "cus_2"]


async def test_a_cursor_is_stable_under_writes(people: Rows, found: PostgresLookups) -> None:
    first = await found.customers(MINE, CustomerLookup(limit=2))
    people.customer("cus_new", 9)
    people.customer("cus_between", 3.5)
    second = await found.customers(MINE, CustomerLookup(limit=10, after=first.next))
    seen = [row.customer_id for row in first.items + second.items]
    assert seen == ["cus_4", "cus_3", "cus_2", "cus_1", "cus_0"]


async def test_by_balance_who_did_not_move_is_seen_once(people: Rows, found: PostgresLookups) -> None:
    for number in range(5):
        people.balance(f"cus_{number}", number * 10)
    by_balance = CustomerLookup(order="balance", currency="USD", limit=2)
    first = await found.customers(MINE, by_balance)
    people.balance("cus_0", 35)  # passes the cursor: not seen
    people.balance("cus_4", 5)  # passes it the other way: seen twice
    second = await found.customers(MINE, by_balance._replace(after=first.next, limit=10))
    assert [row.customer_id for row in first.items] == ["cus_4", "cus_3"]
    assert [row.customer_id for row in second.items] == ["cus_2", "cus_1", "cus_4"]


async def test_a_page_may_be_short_and_says_how_to_go_on(
    people: Rows, found: PostgresLookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_lookups, "WALK_ROWS", 2)
    asked: dict[str, Any] = {"order": "name", "created_at_gte": at(9)}
    page = await found.customers(MINE, CustomerLookup(**asked))
    assert page.items == []
    assert page.next is not None
    assert await ids(found, **asked) == []


async def test_many_matches_are_walked_and_few_are_sorted(
    people: Rows, found: PostgresLookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_lookups, "GLANCE_ROWS", 1)
    monkeypatch.setattr(customer_lookups, "MATCHES_MAX", 1)
    assert await ids(found, words=("cus",), limit=2) == ["cus_4", "cus_3", "cus_2", "cus_1", "cus_0"]
    assert await ids(found, words=("mai",), limit=2) == ["cus_1"]


async def test_totals(people: Rows, found: PostgresLookups, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (customer_lookups, entry_lookups, lookups):
        monkeypatch.setattr(module, "COUNTED_MAX", 2)
    for minute in range(3):
        people.entry("cus_1", minute)
    assert await found.customers_total(MINE, CustomerLookup()) == Counted(5, exact=True)
    assert await found.customers_total(MINE, CustomerLookup(words=("nguyen",))) == Counted(2, exact=True)
    assert await found.customers_total(MINE, CustomerLookup(words=("cus",))) == Counted(2, exact=False)
    by_balance = CustomerLookup(order="balance", currency="USD", after=(1, "cus_0"))
    assert await found.customers_total(MINE, by_balance) == Counted(1, exact=True)
    assert await found.customers_total(MINE, CustomerLookup(after=(at(9), "cus_0"))) == Counted(5, exact=True)
    assert await found.entries_total(MINE, EntryLookup(after=(at(9), 0, 0))) == Counted(3, exact=True)
    assert await found.customers_total(OTHER, CustomerLookup()) == Counted(0, exact=True)
    assert await found.entries_total(MINE, EntryLookup()) == Counted(3, exact=True)
    assert await found.entries_total(MINE, EntryLookup(customer_id="cus_1")) == Counted(2, exact=False)
    assert await found.entries_total(MINE, EntryLookup(is_credit=False)) == Counted(0, exact=True)


async def test_a_customer_has_balances(people: Rows, found: PostgresLookups) -> None:
    people.balance("cus_1", 7)
    people.balance("cus_1", 0, "INR")
    row = await found.customer(MINE, "cus_1")
    assert row is not None
    assert (row.name, row.balances, row.status, row.created_at) == (
        "ĐỖ Thị Mai",
        {"USD": 7, "INR": 0},
        "active",
        at(1),
    )
    [same] = (await found.customers(MINE, CustomerLookup(words=("mai",)))).items
    assert same == row
    assert [await found.customer(stranger, "cus_1") for stranger in (LIVE, OTHER)] == [None, None]


@pytest.fixture
def moved(rows: Rows) -> list[str]:
    """Entries of two customers in different shards, some at the same moment."""
    rows.customer("cus_a", 0)
    rows.customer("cus_b", 0)
    rows.customer("cus_a", 0, tenant=OTHER)
    made = [
        rows.entry("cus_a", 1, 10),
        rows.entry("cus_b", 1, 20, currency="INR"),
        rows.entry("cus_a", 2, 30, cause="refund", reference="ord_1"),
        rows.entry("cus_b", 3, 40, credit=False, reference="ord_1"),
        rows.entry("cus_a", 4, 50, reason="=1+1"),
    ]
    rows.entry("cus_a", 2, 60, tenant=OTHER, reference="ord_1")
    return made


@pytest.mark.parametrize("walked", [1, 2, 10_000])
async def test_entries_are_found(
    moved: list[str], found: PostgresLookups, walked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_lookups, "WALK_ROWS", walked)
    for limit in (1, 2, 100):

        async def numbers(limit: int = limit, **lookup: Any) -> list[int]:
            items: list[int] = []
            after = None
            while True:
                page = await found.entries(MINE, EntryLookup(**lookup, limit=limit, after=after))
                items += [moved.index(row.entry_id) for row in page.items]
                if (after := page.next) is None:
                    return items

        everything = await numbers()
        assert everything[:3] == [4, 3, 2]
        assert sorted(everything[3:]) == [0, 1]
        assert await numbers(descending=False) == everything[::-1]
        assert await numbers(customer_id="cus_a") == [4, 2, 0]
        assert await numbers(customer_id="cus_a", descending=False) == [0, 2, 4]
        assert await numbers(currency="INR") == [1]
        assert await numbers(cause="refund") == [2]
        assert await numbers(reference="ord_1") == [3, 2]
        assert await numbers(reference="ord_1", customer_id="cus_a") == [2]
        assert await numbers(is_credit=False) == [3]
        assert await numbers(created_at_gte=at(2), created_at_lte=at(3)) == [3, 2]
        assert await numbers(customer_id="cus_a", created_at_gte=at(2), created_at_lte=at(3)) == [2]
        assert await numbers(customer_id="cus_c") == []


async def test_an_entry_by_its_id(moved: list[str], found: PostgresLookups) -> None:
    row = await found.entry(MINE, moved[4])
    assert row is not None
    assert (row.customer_id, row.amount, row.balance_after, row.reason) == ("cus_a", 50, 50, "=1+1")
    assert [await found.entry(stranger, moved[4]) for stranger in (LIVE, OTHER)] == [None, None]
