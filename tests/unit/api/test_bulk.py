"""`POST /v1/ledger-entries/bulk` over a ledger in memory."""

from collections import Counter, defaultdict
from typing import Any

import httpx
import msgspec
import pytest

from events.codec import COMMAND_BYTES_MAX, decode_command, encode_command
from events.commands import BULK_CUSTOMERS_MAX, EnterInBulk
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.api import bulk as bulk_module
from services.api.bulk import RECORD_BYTES_MAX, split
from services.api.errors import ApiError
from services.api.ports import NotHandedOver, OutcomeUnknown
from services.api.shapes.bulk import BulkItem
from tests.unit.api.fakes import Api

PATH = "/v1/ledger-entries/bulk"
LATE = Reply(correlation="", outcome=Outcome.LATE)
UNAVAILABLE = Reply(correlation="", outcome=Outcome.UNAVAILABLE)


def item(customer: str, amount: int = 5, key: str = "k", kind: str = "credit", **more: Any) -> dict[str, Any]:
    return {
        "customer_id": customer,
        "amount": amount,
        "currency": "USD",
        "entry_type": kind,
        "idempotency_key": key,
        **more,
    }


async def enter(client: httpx.AsyncClient, *items: dict[str, Any], **more: Any) -> httpx.Response:
    return await client.post(PATH, json={"items": list(items), **more})


@pytest.fixture
async def customers(client: httpx.AsyncClient, api: Api) -> list[str]:
    """One of each shard, then one more of the first."""
    found: dict[int, str] = {}
    for number in range(99):
        answer = await client.post("/customers", json={"name": f"{number}", "email": "e"})
        identifier = answer.json()["customer_id"]
        shard = shard_of(identifier, api.ledger.shards)
        if shard not in found:
            found[shard] = identifier
        elif len(found) == api.ledger.shards and shard == 0:
            return [*(found[shard] for shard in sorted(found)), identifier]
    raise AssertionError("no customer for each shard")


async def test_each_item_has_its_outcome_in_the_order_of_the_items(
    api: Api, client: httpx.AsyncClient, customers: list[str]
) -> None:
    before = len(api.ledger.commands)
    items = [item(customer, 5 + number) for number, customer in enumerate(customers)]
    items += [item(customers[2], 1, "debit", "debit"), item(customers[2], 99, "too much", "debit")]
    items += [item("cus_stranger"), item(customers[0], 5)]
    answer = await enter(client, *items)
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["ledger-applied"] == "true"
    assert [one["status"] for one in body["items"]] == [200, 200, 200, 200, 200, 200, 400, 404, 200]
    assert [one["balance"] for one in body["items"]] == [5, 6, 7, 8, 9, 6, None, None, 5]
    assert body["items"][6]["code"] == "INSUFFICIENT_WALLET_FUNDS"
    assert [one["replayed"] for one in body["items"]] == [False] * 8 + [True]
    assert (body["applied"], body["refused"], body["not_applied"], body["unknown"]) == (7, 2, 0, 0)
    sent = [decode_command(encode_command(command)) for command in api.ledger.commands[before:]]
    assert len(sent) == api.ledger.shards, "one record for each shard"
    assert {command.type for command, _ in sent} == {EnterInBulk.TYPE}
    again = (await enter(client, *items)).json()
    assert [one["replayed"] for one in again["items"]] == [True] * 9
    assert [one["ledger_position"] for one in again["items"]] == [
        one["ledger_position"] for one in body["items"]
    ]


async def test_all_or_nothing_is_each_customers_own(client: httpx.AsyncClient, customers: list[str]) -> None:
    poor, other = customers[0], customers[-1]  # of one shard, so of one record
    items = [item(poor), item(poor, 9, "too much", "debit"), item(other), item(poor, 1, "more")]
    found = (await enter(client, *items, all_or_nothing=True)).json()["items"]
    assert [(one["status"], one["code"], one["balance"]) for one in found] == [
        (409, "ANOTHER_ENTRY_FAILED", None),
        (400, "INSUFFICIENT_WALLET_FUNDS", None),
        (200, None, 5),
        (409, "ANOTHER_ENTRY_FAILED", None),
    ]
    assert all(one["ledger_position"] for one in found)


async def test_reads_are_waited_for_in_every_shard(
    api: Api, client: httpx.AsyncClient, customers: list[str]
) -> None:
    api.visibility.waits.clear()
    await enter(client, *(item(customer) for customer in customers))
    assert sorted((shard, sequence) for shard, sequence, _ in api.visibility.waits) == list(
        enumerate(api.ledger.sequences)
    )
    api.visibility.missing = {2}
    answer = await enter(client, *(item(customer, key="2") for customer in customers))
    assert answer.headers["ledger-applied"] == "false"
    answer = await client.post(
        PATH, json={"items": [item(customers[0])]}, headers={"prefer": "respond-async"}
    )
    assert answer.headers["preference-applied"] == "respond-async"
    assert "ledger-applied" not in answer.headers


async def test_reads_are_waited_for_until_they_show_the_last_entry_of_a_shard(
    api: Api, client: httpx.AsyncClient, customers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second record may repeat what is older than what its first one did."""
    monkeypatch.setattr(bulk_module, "BULK_CUSTOMERS_MAX", 1)
    one, other = customers[0], customers[-1]  # of one shard
    await enter(client, item(other))
    api.visibility.waits.clear()
    found = (await enter(client, item(one), item(other))).json()["items"]
    assert [entry["replayed"] for entry in found] == [False, True]
    assert [(shard, sequence) for shard, sequence, _ in api.visibility.waits] == [
        (0, api.ledger.sequences[0])
    ]


@pytest.mark.parametrize(
    ("planned", "status", "code", "count"),
    [
        (OutcomeUnknown(), 504, "OUTCOME_UNKNOWN", "unknown"),
        (NotHandedOver(), 503, "SERVICE_UNAVAILABLE", "not_applied"),
        (LATE, 503, "DEADLINE_EXCEEDED", "not_applied"),
        (UNAVAILABLE, 503, "SERVICE_UNAVAILABLE", "not_applied"),
    ],
)
async def test_a_shard_that_fails_leaves_the_outcomes_of_the_others(
    api: Api,
    client: httpx.AsyncClient,
    customers: list[str],
    planned: Reply | Exception,
    status: int,
    code: str,
    count: str,
) -> None:
    api.ledger.silent[0] = planned  # type: ignore[assignment]
    answer = await enter(client, *(item(customer) for customer in customers))
    body = answer.json()
    assert answer.status_code == 200
    assert [(one["status"], one["code"]) for one in body["items"]] == [
        (status, code), (200, None), (200, None), (200, None), (status, code),
    ]  # fmt: skip
    assert (body["applied"], body[count]) == (3, 2)
    api.ledger.silent.clear()
    again = (await enter(client, *(item(customer) for customer in customers))).json()
    assert [one["replayed"] for one in again["items"]] == [False, True, True, True, False]
    assert again["applied"] == 5


@pytest.mark.parametrize(
    ("planned", "status", "code"),
    [
        ([OutcomeUnknown()] * 4, 504, "OUTCOME_UNKNOWN"),
        ([NotHandedOver()] * 4, 503, "SERVICE_UNAVAILABLE"),
        ([LATE] * 4, 503, "DEADLINE_EXCEEDED"),
        ([NotHandedOver(), OutcomeUnknown(), LATE, LATE], 504, "OUTCOME_UNKNOWN"),
    ],
)
async def test_where_nothing_is_known_the_answer_says_so_and_may_be_repeated(
    api: Api, client: httpx.AsyncClient, customers: list[str], planned: list[Any], status: int, code: str
) -> None:
    for attempt in ("0", "1"):
        api.ledger.silent = dict(enumerate(planned))
        client.headers["x-stainless-retry-count"] = attempt
        answer = await enter(client, *(item(customer) for customer in customers))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["x-should-retry"] == "true", "each item has a key"


async def test_what_the_ledger_says_of_one_entry_is_its_status(
    api: Api, client: httpx.AsyncClient, customers: list[str]
) -> None:
    entries = [
        Reply(correlation="", outcome=Outcome.KEY_REUSED, code="IDEMPOTENCY_KEY_REUSED"),
        Reply(correlation="", outcome=Outcome.KEY_REUSED, code="ANOTHER_ENTRY_FAILED"),
        Reply(correlation="", outcome=Outcome.REFUSED, code="ANOTHER_ENTRY_FAILED", position="0:9"),
        Reply(correlation="", outcome=Outcome.REFUSED, code="CUSTOMER_BLOCKED", position="0:9"),
        Reply(correlation="", outcome=Outcome.REFUSED, code="UNSUPPORTED_CURRENCY", position="0:9"),
        Reply(correlation="", outcome=Outcome.FAILED, code="INTERNAL_SERVER_ERROR"),
    ]
    api.ledger.silent[0] = Reply(correlation="", outcome=Outcome.APPLIED, position="0:9", entries=entries)
    body = (await enter(client, *[item(customers[0])] * 6)).json()
    assert [(one["status"], one["code"], one["ledger_position"]) for one in body["items"]] == [
        (409, "IDEMPOTENCY_KEY_REUSED", None),
        (409, "ANOTHER_ENTRY_FAILED", None),
        (409, "ANOTHER_ENTRY_FAILED", "0:9"),
        (409, "CUSTOMER_BLOCKED", "0:9"),
        (422, "UNSUPPORTED_CURRENCY", "0:9"),
        (500, "INTERNAL_SERVER_ERROR", None),
    ]
    assert (body["applied"], body["refused"], body["not_applied"], body["unknown"]) == (0, 5, 0, 1)


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ({"amount": 0}, "$.items[1].amount"),
        ({"amount": 1.5}, "$.items[1].amount"),
        ({"idempotency_key": None}, "$.items[1].idempotency_key"),
        ({"idempotency_key": ""}, "$.items[1].idempotency_key"),
        ({"entry_type": "gift"}, "$.items[1].entry_type"),
        ({"customer_id": "cus/1"}, "$.items[1].customer_id"),
        ({"reference": "with space"}, "$.items[1].reference"),
    ],
)
async def test_one_item_that_is_none_fails_all_before_anything_is_sent(
    api: Api, client: httpx.AsyncClient, wrong: dict[str, Any], at: str
) -> None:
    answer = await enter(client, item("cus_1"), item("cus_2") | wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_BODY")
    assert at in answer.json()["message"]
    assert api.ledger.commands == []


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": [item("cus_1")] * 1001}, {"items": [{}]}, []])
async def test_wrong_bodies(api: Api, client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_BODY")
    assert api.ledger.commands == []


async def test_its_body_may_be_larger_than_others_and_is_limited_too(
    api: Api, client: httpx.AsyncClient
) -> None:
    many = [item(f"cus_{number}", reason="x" * 100, key=f"{number}") for number in range(1_000)]
    assert (await enter(client, *many)).status_code == 200
    answer = await enter(client, *[item(f"cus_{number}", reason="x" * 1000) for number in range(1_000)])
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("secret", ["wl_test_reader", "wl_test_other"])
async def test_another_business_and_a_reader_move_nothing(
    api: Api, customers: list[str], secret: str
) -> None:
    async with api.client(secret) as other:
        answer = await enter(other, item(customers[0]))
    if secret == "wl_test_reader":
        assert answer.status_code == 401
    else:
        assert [one["status"] for one in answer.json()["items"]] == [404]
    assert api.views.tables().wallets == {}


# --- cutting into records ---


def items(*sizes: int, reason: int = 1) -> list[BulkItem]:
    """So many entries of each customer."""
    return [
        msgspec.convert(item(f"cus_{number}", key=f"{n}", reason="x" * reason), BulkItem)
        for number, size in enumerate(sizes)
        for n in range(size)
    ]


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(items(*[1] * 1_000), id="a thousand customers"),
        pytest.param(items(*[100] * 10), id="ten customers"),
        pytest.param(items(1_000), id="one customer"),
        pytest.param(items(*[1] * 900, reason=900), id="long reasons"),
    ],
)
@pytest.mark.parametrize("shards", [1, 32])
def test_records_keep_to_their_limits_and_customers_together(asked: list[BulkItem], shards: int) -> None:
    records = split(asked, True, shards)
    homes = Counter[str]()
    places: list[int] = []
    by_customer: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        bulk = msgspec.json.decode(record.data, type=EnterInBulk)
        assert bulk.all_or_nothing
        assert len(record.data) <= COMMAND_BYTES_MAX - 4_000
        assert [entry.idempotency_key for entry in bulk.entries] == [
            asked[place].idempotency_key for place in record.places
        ]
        customers = {entry.customer_id for entry in bulk.entries}
        assert record.subject in customers
        assert len(customers) <= BULK_CUSTOMERS_MAX
        assert {shard_of(customer, shards) for customer in customers} == {record.shard}
        homes.update(customers)
        places += record.places
        for place in record.places:
            by_customer[asked[place].customer_id].append(place)
    assert sorted(places) == list(range(len(asked)))
    assert set(homes.values()) == {1}
    assert all(own == sorted(own) for own in by_customer.values())


def test_items_of_one_customer_that_no_record_holds_are_too_large() -> None:
    with pytest.raises(ApiError) as raised:
        split(items(500, reason=1_000), False, 32)
    assert (raised.value.status, raised.value.code) == (413, "PAYLOAD_TOO_LARGE")
    assert str(RECORD_BYTES_MAX) in raised.value.message
