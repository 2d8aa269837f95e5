"""`/v1` lists: what a query asks for, cursors, totals, headers, and what is refused."""

import base64
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from events.ids import Tenant
from services.api.cursor import Cursors, Number, Word, micros, moment
from services.api.documents.openapi import document
from services.api.errors import ApiError
from services.api.lookups import (
    Counted,
    CustomerLookup,
    Customers,
    Entries,
    EntryLookup,
    FoundCustomer,
    FoundEntry,
)
from services.api.ports import ViewsTooSlow
from tests.unit.api.fakes import OTHER, TENANT, Api

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ANA = FoundCustomer(
    "cus_1", "Ana", "a@example.com", None, {"tier": "gold"}, None, MOMENT, MOMENT, None, "active", {"USD": 5}
)
ENTRY = FoundEntry(
    3, 12, "cus_1", "wle_1", "USD", False, 5, 10, 5, "purchase", "merchant:sales", "ord_1", None, MOMENT
)

CUSTOMERS = "/v1/customers"
ENTRIES = "/v1/ledger-entries"


@pytest.mark.parametrize(
    ("query", "lookup"),
    [
        ("", CustomerLookup()),
        ("search=%20Nguy%E1%BB%85n+van++van", CustomerLookup(words=("Nguyễn", "van"))),
        ("sort=name", CustomerLookup(order="name", descending=False)),
        ("sort=-balance&currency=USD", CustomerLookup(order="balance", currency="USD")),
        (
            "balance_gte=0&balance_lte=9007199254740991&currency=INR&limit=100",
            CustomerLookup(balance_gte=0, balance_lte=2**53 - 1, currency="INR", limit=100),
        ),
        (
            "created_at_gte=2026-01-01t07:00:00.123456789%2B07:00&created_at_lte=2026-01-01t00:00:00.1234567z",
            CustomerLookup(
                created_at_gte=datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC),
                created_at_lte=datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC),
            ),
        ),
        (
            "created_at_gte=2026-01-01&created_at_lte=2026-01-02T00:00:00%2B01:00&status=blocked",
            CustomerLookup(
                created_at_gte=datetime(2026, 1, 1, tzinfo=UTC),
                created_at_lte=datetime(2026, 1, 1, 23, tzinfo=UTC),
                status="blocked",
            ),
        ),
        (
            "metadata[tier]=gold&metadata%5Bn%5D=3",
            CustomerLookup(metadata=(("tier", "gold"), ("n", "3"))),
        ),
    ],
)
async def test_a_query_of_customers(
    api: Api, client: httpx.AsyncClient, query: str, lookup: CustomerLookup
) -> None:
    assert (await client.get(f"{CUSTOMERS}?{query}")).status_code == 200
    assert api.lookups.asked == [(TENANT, lookup)]


@pytest.mark.parametrize(
    ("query", "lookup"),
    [
        ("", EntryLookup()),
        ("customer_id=cus_1&currency=USD&limit=1", EntryLookup(customer_id="cus_1", currency="USD", limit=1)),
        ("cause=refund&direction=debit", EntryLookup(cause="refund", is_credit=False)),
        ("reference=ord%201&direction=credit", None),
        ("reference=ord_1&sort=created_at", EntryLookup(reference="ord_1", descending=False)),
    ],
)
async def test_a_query_of_entries(
    api: Api, client: httpx.AsyncClient, query: str, lookup: EntryLookup | None
) -> None:
    answer = await client.get(f"{ENTRIES}?{query}")
    assert answer.status_code == (200 if lookup else 422)
    assert api.lookups.asked == ([(TENANT, lookup)] if lookup else [])


PAGES = [
    "limit=0", "limit=101", "limit=-1", "limit=x", "limit=1.0", "cursor=", "cursor=x", "cursor=%00", "total=yes",
    "total=1", "page_size=10", "unknown=1", "limit=1&limit=1", "sort=", "sort=email", "sort=--created_at",
    f"cursor={'A' * 600}", "cursor=%F0%9F%8E%89", "created_at_gte=yesterday",
    "created_at_gte=2026-01-01&created_at_gte=2026-01-01",
    "currency=usd", "a" * 40 + "=1", "limit=1&limit=2", "&".join(f"a{n}=1" for n in range(60)), "limit=%ff",
]  # fmt: skip
OF_CUSTOMERS = [
    "search=", "search=%20", "search=a+b+c+d+e+f+g+h+i", f"search={'x' * 513}", "search=%00", "search=%ff", "status=gone",
    "balance_gte=5", "currency=USD", "sort=balance", "balance_gte=-1&currency=USD",
    "balance_gte=9007199254740992&currency=USD",
    "balance_lte=x&currency=USD", "metadata=gold", "metadata[]=x", "metadata[a b]=x", "metadata[tier]=",
    "metadata[a]=1&metadata[a]=2", "&".join(f"metadata[k{n}]=1" for n in range(6)), "metadata[" + "k" * 41 + "]=1",
    "cause=refund", "page_number=1",
]  # fmt: skip
OF_ENTRIES = [
    "cause=theft", "direction=up", "customer_id=a%20b", "customer_id=" + "c" * 65, "reference=a%0Ab", "metadata[a]=1",
    "reference=" + "r" * 129, "search=x", "sort=name", "format=csv",
]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        *(f"{CUSTOMERS}?{query}" for query in PAGES + OF_CUSTOMERS),
        *(f"{ENTRIES}?{query}" for query in PAGES + OF_ENTRIES),
        f"{ENTRIES}/export?format=xml", f"{ENTRIES}/export?limit=1",
        f"{ENTRIES}/export?cursor=x", f"{ENTRIES}/export?cause=x",
    ],
)  # fmt: skip
async def test_a_query_that_makes_no_sense(api: Api, client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("INVALID_QUERY_PARAMS", "INVALID_CURSOR")
    assert api.lookups.asked == []
    assert api.exports.asked == []


@pytest.mark.parametrize("of", ["", "/export"])
async def test_the_path_says_whose_entries(
    api: Api, client: httpx.AsyncClient, customer: str, of: str
) -> None:
    path = f"{CUSTOMERS}/{customer}/ledger-entries{of}"
    assert (await client.get(f"{path}?cause=refund")).status_code == 200
    answer = await client.get(f"{path}?customer_id=cus_1")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS")
    [(_, lookup)] = api.lookups.asked + api.exports.asked
    assert lookup.customer_id == customer


async def test_what_was_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    for query in (
        "secret=1",
        "status=secret",
        "sort=secret",
        "cursor=secret",
        "metadata[secret]=",
        "search=secret%00",
    ):
        assert "secret" not in (await client.get(f"{CUSTOMERS}?{query}")).text


async def test_a_page_of_customers(api: Api, client: httpx.AsyncClient) -> None:
    api.lookups.found = Customers([ANA], (micros(MOMENT), "cus_1"))
    answer = await client.get(f"{CUSTOMERS}?search=ana&total=true")
    page = answer.json()
    assert page["items"] == [msgspec.to_builtins(ANA._asdict())]
    assert page["total"] == {"count": 3, "exact": True}
    assert answer.headers["ledger-position"] == "1:7,3:12"
    await client.get(f"{CUSTOMERS}?search=ana&limit=3&cursor={page['next_cursor']}")
    assert api.lookups.asked[-1][1] == CustomerLookup(
        words=("ana",), limit=3, after=(micros(MOMENT), "cus_1")
    )


async def test_totals_are_counted_when_asked_for(api: Api, client: httpx.AsyncClient) -> None:
    assert "total" not in (await client.get(CUSTOMERS)).json()
    api.lookups.counted = Counted(1000, exact=False)
    for path in (CUSTOMERS, ENTRIES):
        assert (await client.get(f"{path}?total=true")).json()["total"] == {"count": 1000, "exact": False}
    api.lookups.counted = None
    assert (await client.get(f"{CUSTOMERS}?total=true")).json()["total"] is None


async def test_a_page_of_entries(api: Api, client: httpx.AsyncClient, customer: str) -> None:
    api.lookups.entries_found = Entries([ENTRY], (12,))
    answer = await client.get(f"/v1/customers/{customer}/ledger-entries?cause=purchase")
    page = answer.json()
    assert page["items"] == [
        {
            "entry_id": "wle_1", "customer_id": "cus_1", "currency": "USD", "direction": "debit", "amount": 5,
            "balance_before": 10, "balance_after": 5, "cause": "purchase", "counter_account": "merchant:sales",
            "reference": "ord_1", "reason": None, "created_at": "2026-01-02T03:04:05.678901Z", "position": "3:12",
        }
    ]  # fmt: skip
    assert answer.headers["ledger-position"].count(":") == 1
    await client.get(f"/v1/customers/{customer}/ledger-entries?cause=purchase&cursor={page['next_cursor']}")
    assert api.lookups.asked[-1][1] == EntryLookup(customer_id=customer, cause="purchase", after=(12,))


async def test_one_customer_and_one_entry(api: Api, client: httpx.AsyncClient) -> None:
    api.lookups.found, api.lookups.entries_found = Customers([ANA], None), Entries([ENTRY], None)
    customer = await client.get(f"{CUSTOMERS}/cus_1")
    assert customer.json()["balances"] == {"USD": 5}
    entry = await client.get(f"{ENTRIES}/wle_1")
    assert entry.json()["entry_id"] == "wle_1"
    for answer in (customer, entry):
        assert answer.headers["ledger-position"].count(":") == 1


async def test_what_belongs_to_another_tenant_is_not_there(api: Api, customer: str) -> None:
    api.lookups.found, api.lookups.entries_found = Customers([ANA], None), Entries([ENTRY], None)
    async with api.client("wl_test_other") as other:
        for path in (
            f"{CUSTOMERS}/cus_1", f"{ENTRIES}/wle_1", f"{CUSTOMERS}/{customer}/ledger-entries",
            f"{CUSTOMERS}/{customer}/ledger-entries/export", f"{ENTRIES}/a%20b", f"{ENTRIES}/%00", f"{CUSTOMERS}/%ff",
        ):  # fmt: skip
            answer = await other.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), path
        await other.get(CUSTOMERS)
        await other.get(f"{ENTRIES}/export")
    assert [tenant for tenant, _ in api.lookups.asked + api.exports.asked] == [OTHER, OTHER]


async def test_lookups_need_the_scope_read(api: Api) -> None:
    async with api.client("wl_test_writer") as writer:
        for path in (
            CUSTOMERS, f"{CUSTOMERS}/cus_1", ENTRIES, f"{ENTRIES}/wle_1", f"{ENTRIES}/export",
            f"{CUSTOMERS}/cus_1/ledger-entries", f"{CUSTOMERS}/cus_1/ledger-entries/export",
        ):  # fmt: skip
            assert (await writer.get(path)).status_code == 401


async def test_a_list_can_wait_for_the_positions_of_another(api: Api, client: httpx.AsyncClient) -> None:
    answer = await client.get(CUSTOMERS, headers={"ledger-position": "1:7, 3:12"})
    assert answer.status_code == 200
    assert {wait[:2] for wait in api.visibility.waits} == {(1, 7), (3, 12)}
    api.visibility.visible = False
    answer = await client.get(CUSTOMERS, headers={"ledger-position": "1:7,3:12"})
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")
    api.visibility.visible, api.visibility.confirmed = True, False
    answer = await client.get(CUSTOMERS, headers={"ledger-position": "1:7,3:12"})
    assert answer.json()["code"] == "NOT_YET_VISIBLE", "it was heard, and the tables do not have it"
    for wrong in ("1:7,", "1:7;3:12", ",", "4:1", "0:1,0:1,0:1,0:1,0:1", "1:7,x"):
        assert (await client.get(CUSTOMERS, headers={"ledger-position": wrong})).status_code == 422


async def test_a_lookup_that_takes_too_long_is_503(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: Any) -> Any:
        raise ViewsTooSlow

    monkeypatch.setattr(api.lookups, "customers", slow)
    answer = await client.get(CUSTOMERS)
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (answer.headers["x-should-retry"], "narrow" in answer.json()["message"]) == ("false", True)


LISTED = {"search": "ana", "sort": "name"}
PLACE = ("ana", "cus_1")


def cursors(route: str = "/x", tenant: Tenant = TENANT, **changes: str) -> Cursors:
    return Cursors(route, tenant, LISTED | changes, tuple[Word, Word])


def test_a_cursor_comes_back() -> None:
    text = cursors().encode(PLACE)
    assert cursors().decode(text) == PLACE
    assert text.isascii()
    longest = ("\U0001f98a" * 64, "c" * 64)
    assert cursors().decode(cursors().encode(longest)) == longest
    assert len(cursors().encode(longest)) <= 512
    assert moment(micros(MOMENT)) == MOMENT


def test_a_cursor_fits_its_own_list_only() -> None:
    text = cursors().encode(PLACE)
    for other in (
        cursors("/y"), cursors(tenant=OTHER), cursors(tenant=Tenant(TENANT.business_id, "live")), cursors(sort="-name"),
        cursors(search="ann"), cursors(status="active"),
    ):  # fmt: skip
        with pytest.raises(ApiError, match="INVALID_CURSOR"):
            other.decode(text)


def test_every_changed_byte_of_a_cursor_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(cursors().encode(PLACE) + "==")
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(ApiError, match="INVALID_CURSOR"):
            cursors().decode(base64.urlsafe_b64encode(changed).decode().rstrip("="))
    for cut in range(len(raw)):
        with pytest.raises(ApiError, match="INVALID_CURSOR"):
            cursors().decode(base64.urlsafe_b64encode(raw[:cut]).decode())


@pytest.mark.parametrize(
    "body",
    [
        (2, PLACE),
        (1, ("a",)),
        (1, ("a\x00", "b")),
        (1, ("a" * 513, "b")),
        (1, (1, "b")),
        (1, None),
        {},
        (1, PLACE, 1),
    ],
)
def test_a_forged_cursor_with_a_right_tag_is_still_checked(body: Any) -> None:
    made = cursors()
    raw = msgspec.msgpack.encode(body)
    with pytest.raises(ApiError, match="INVALID_CURSOR"):
        made.decode(base64.urlsafe_b64encode(made._tag(raw) + raw).decode().rstrip("="))
    numbers = Cursors("/x", TENANT, {}, tuple[Number])
    for wrong in (-1, 2**63, 1.5, "1"):
        raw = msgspec.msgpack.encode((1, (wrong,)))
        with pytest.raises(ApiError, match="INVALID_CURSOR"):
            numbers.decode(base64.urlsafe_b64encode(numbers._tag(raw) + raw).decode().rstrip("="))


async def test_the_document_and_the_search_know_the_same_spaces(client: httpx.AsyncClient) -> None:
    """`\\s` is another set to a JSON Schema than to Python: as in re.ASCII, it would be so here too."""
    parameters = document()["paths"][CUSTOMERS]["get"]["parameters"]
    [pattern] = [one["schema"]["pattern"] for one in parameters if one["name"] == "search"]
    between = [chr(code) for code in range(0x3001) if chr(code).isspace()]
    for space in [*between, "\u200b", "\ufeff", "\u180e"]:
        for words, fits in (("abcdefgh", True), ("abcdefghi", space not in between)):
            search = space + space.join(words)
            assert bool(re.fullmatch(pattern, search, re.ASCII)) is fits, ascii(search)
            answer = await client.get(CUSTOMERS, params={"search": search})
            assert (answer.status_code == 200) is fits, ascii(search)
