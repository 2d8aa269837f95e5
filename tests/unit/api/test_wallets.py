"""Wallets and ledger entries over a ledger in memory."""

import httpx
import pytest

from events.codec import decode_command, encode_command
from events.commands import CreditWallet
from events.facts import Cause
from events.replies import Outcome, Reply
from services.api.ports import NotHandedOver, OutcomeUnknown
from services.api.shapes.customers import EVENT_TYPES
from tests.unit.api.fakes import Api, make_api

CREDIT = {"amount": 500, "currency": "USD", "entry_type": "credit"}
DEBIT = {"amount": 200, "currency": "USD", "entry_type": "debit"}


@pytest.fixture
def entries(customer: str) -> str:
    return f"/customers/{customer}/wallets/ledger-entries"


async def test_an_entry_answers_with_the_wallet_after_it(
    client: httpx.AsyncClient, customer: str, entries: str
) -> None:
    await client.post(entries, json=CREDIT)
    answer = await client.post(entries, json=DEBIT)
    wallet = answer.json()
    assert answer.status_code == 200
    assert set(wallet) == {"balance", "created_at", "currency", "customer_id", "updated_at"}
    assert (wallet["balance"], wallet["currency"], wallet["customer_id"]) == (300, "USD", customer)
    assert wallet["created_at"] < wallet["updated_at"]
    assert answer.headers["ledger-position"].endswith(":3")


async def test_every_open_currency_has_a_wallet(
    client: httpx.AsyncClient, customer: str, entries: str
) -> None:
    await client.post(entries, json={**CREDIT, "currency": "INR", "amount": 100_000})
    answer = await client.get(f"/customers/{customer}/wallets")
    body = answer.json()
    assert [(item["currency"], item["balance"]) for item in body["items"]] == [("USD", 0), ("INR", 100_000)]
    assert body["total_balance_usd"] == 1_120
    assert answer.headers["ledger-usd-rates"] == "USD=1, INR=0.0112"
    assert answer.headers["ledger-position"].endswith(":2")


async def test_the_ledger_is_shown_newest_first(client: httpx.AsyncClient, entries: str) -> None:
    await client.post(entries, json={**CREDIT, "reason": "gift 🎁"})
    await client.post(entries, json=DEBIT)
    newest, oldest = (await client.get(entries)).json()["items"]
    assert (newest["before_balance"], newest["amount"], newest["after_balance"]) == (500, 200, 300)
    assert (newest["is_credit"], newest["reason"], newest["reference_object_id"]) == (False, None, None)
    assert (oldest["is_credit"], oldest["reason"], oldest["event_type"]) == (
        True,
        "gift 🎁",
        "merchant_adjustment",
    )
    assert oldest["id"].startswith("wle_")
    assert (await client.get(f"{entries}?currency=INR")).json() == {"items": []}
    assert (await client.get(f"{entries}?page_size=1&page_number=1")).json()["items"] == [oldest]


async def test_read_models_that_came_back_older_than_they_were_are_not_shown(
    api: Api, client: httpx.AsyncClient, customer: str, entries: str
) -> None:
    shown = await client.get(entries)
    shard, _, sequence = shown.headers["ledger-position"].partition(":")
    assert api.visibility.visible
    for path in (entries, f"/customers/{customer}", f"/customers/{customer}/wallets"):
        assert (await client.get(path, headers={"ledger-position": f"{shard}:{sequence}"})).status_code == 200
        answer = await client.get(path, headers={"ledger-position": f"{shard}:{int(sequence) + 1}"})
        assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")


def test_every_cause_has_a_public_word() -> None:
    assert set(EVENT_TYPES) == set(Cause)


async def test_overdraft_is_refused_with_the_position_of_the_refusal(
    client: httpx.AsyncClient, entries: str
) -> None:
    answer = await client.post(entries, json=DEBIT)
    assert (answer.status_code, answer.json()["code"]) == (400, "INSUFFICIENT_WALLET_FUNDS")
    assert answer.headers["ledger-position"].endswith(":2")


async def test_a_repeated_key_gets_the_first_answer(client: httpx.AsyncClient, entries: str) -> None:
    sent = {**CREDIT, "idempotency_key": "k"}
    first = await client.post(entries, json=sent)
    again = await client.post(entries, json=sent)
    by_header = await client.post(entries, json=CREDIT, headers={"idempotency-key": "k"})
    assert first.json() == again.json() == by_header.json()
    other = await client.post(entries, json={**sent, "amount": 501})
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_an_automatic_retry_without_a_key_gets_the_first_answer_once(
    client: httpx.AsyncClient, entries: str
) -> None:
    first = await client.post(entries, json=CREDIT)
    retry = {"x-stainless-retry-count": "1"}
    answers = [await client.post(entries, json=CREDIT, headers=headers) for headers in (retry, retry, {})]
    assert [answer.json()["balance"] for answer in answers] == [500, 1_000, 1_500]
    assert answers[0].headers["ledger-position"] == first.headers["ledger-position"]


NOT_APPLIED = (
    NotHandedOver(),
    Reply(outcome=Outcome.LATE, correlation=""),
    Reply(outcome=Outcome.UNAVAILABLE, correlation=""),
)


@pytest.mark.parametrize(
    ("key", "sdk", "repeated"),
    [({}, "0", "false"), ({"idempotency_key": "k"}, "0", "true"), ({}, None, "true")],
)
@pytest.mark.parametrize("planned", NOT_APPLIED)
async def test_the_sdk_repeats_what_was_not_applied_only_with_a_key(
    api: Api,
    client: httpx.AsyncClient,
    entries: str,
    planned: Reply | NotHandedOver,
    key: dict[str, str],
    sdk: str | None,
    repeated: str,
) -> None:
    """Its retry without one would get the answer of the equal entry before it, and nothing would be done."""
    await client.post(entries, json=CREDIT)
    api.ledger.next = planned
    headers = {} if sdk is None else {"x-stainless-retry-count": sdk}
    answer = await client.post(entries, json=CREDIT | key, headers=headers)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, repeated)


@pytest.mark.parametrize(
    ("key", "answered"),
    [({}, (504, "OUTCOME_UNKNOWN", "false")), ({"idempotency-key": "k"}, (503, None, "true"))],
)
@pytest.mark.parametrize("planned", NOT_APPLIED)
async def test_of_a_retry_without_a_key_only_this_attempt_was_not_applied(
    api: Api,
    client: httpx.AsyncClient,
    entries: str,
    planned: Reply | NotHandedOver,
    key: dict[str, str],
    answered: tuple[int, str | None, str],
) -> None:
    """The attempt before it may have been; repeated as a new request, or as the SDK's third, it would be done twice."""
    api.ledger.next = planned
    answer = await client.post(entries, json=CREDIT, headers={"x-stainless-retry-count": "1", **key})
    status, code, repeated = answered
    assert (answer.status_code, answer.headers["x-should-retry"]) == (status, repeated)
    assert code in (None, answer.json()["code"])
    assert ("earlier" in answer.json()["message"]) == (status == 504)


async def test_a_wallet_holds_what_json_can_say(client: httpx.AsyncClient, entries: str) -> None:
    most = await client.post(entries, json={**CREDIT, "amount": 2**53 - 1})
    assert most.json()["balance"] == 2**53 - 1
    more = await client.post(entries, json={**CREDIT, "amount": 1})
    assert (more.status_code, more.json()["code"]) == (400, "BALANCE_LIMIT_EXCEEDED")


async def test_two_keys_that_differ_are_none(api: Api, client: httpx.AsyncClient, entries: str) -> None:
    before = len(api.ledger.commands)
    sent = {**CREDIT, "idempotency_key": "k"}
    answer = await client.post(entries, json=sent, headers={"idempotency-key": "other"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_PARAMETERS")
    assert len(api.ledger.commands) == before
    assert (await client.post(entries, json=sent, headers={"idempotency-key": "k"})).status_code == 200


@pytest.mark.parametrize(
    ("planned", "key", "status", "code", "retry"),
    [
        (NotHandedOver(), None, 503, "SERVICE_UNAVAILABLE", "true"),
        (OutcomeUnknown(), "k", 504, "OUTCOME_UNKNOWN", "true"),
        (OutcomeUnknown(), None, 504, "OUTCOME_UNKNOWN", "false"),
        (Reply(correlation="c", outcome=Outcome.LATE), None, 503, "DEADLINE_EXCEEDED", "true"),
        (Reply(correlation="c", outcome=Outcome.UNAVAILABLE), None, 503, "SERVICE_UNAVAILABLE", "true"),
        (Reply(correlation="c", outcome=Outcome.MALFORMED), None, 422, "INVALID_REQUEST_BODY", None),
        (Reply(correlation="c", outcome=Outcome.FAILED), "k", 500, "INTERNAL_SERVER_ERROR", "false"),
        (Reply(correlation="c", outcome=Outcome.KEY_REUSED), "k", 409, "IDEMPOTENCY_KEY_REUSED", "false"),
        (Reply(correlation="c", outcome=Outcome.REFUSED, code="BALANCE_LIMIT_EXCEEDED", position="1:1"),
         None, 400, "BALANCE_LIMIT_EXCEEDED", None),
        (Reply(correlation="c", outcome=Outcome.REFUSED, code="CUSTOMER_EXISTS", position="1:1"),
         None, 409, "CUSTOMER_EXISTS", "false"),
    ],
)  # fmt: skip
async def test_what_was_not_applied_says_whether_to_repeat(
    api: Api,
    client: httpx.AsyncClient,
    entries: str,
    planned: Reply | NotHandedOver | OutcomeUnknown,
    key: str | None,
    status: int,
    code: str,
    retry: str | None,
) -> None:
    api.ledger.next = planned
    answer = await client.post(entries, json={**CREDIT, "idempotency_key": key})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers.get("x-should-retry") == retry
    assert set(answer.json()) == {"code", "message"}


async def test_a_write_waits_for_its_read_models(api: Api, client: httpx.AsyncClient, entries: str) -> None:
    await client.post(entries, json=CREDIT)
    shard, sequence, seconds = api.visibility.waits[-1]
    assert (sequence, seconds) == (2, 0.5)
    answer = await client.post(entries, json=CREDIT, headers={"prefer": "handling=lenient, Respond-Async"})
    assert api.visibility.waits[-1] == (shard, 3, 0)
    assert answer.headers["preference-applied"] == "respond-async"
    assert "ledger-applied" not in answer.headers
    api.visibility.visible = False
    answer = await client.post(entries, json=CREDIT)
    assert (answer.status_code, answer.headers["ledger-applied"]) == (200, "false")


async def test_a_read_can_demand_a_position(api: Api, client: httpx.AsyncClient, entries: str) -> None:
    position = (await client.get(entries)).headers["ledger-position"]
    answer = await client.get(entries, headers={"ledger-position": position})
    assert answer.status_code == 200
    assert api.visibility.waits[-1] == (*map(int, position.split(":")), 0.5)
    api.visibility.visible = False
    answer = await client.get(entries, headers={"ledger-position": position})
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")
    assert answer.headers["x-should-retry"] == "true"


@pytest.mark.parametrize(
    "position", ["", "x", "1", "4:1", "-1:1", "1:-1", "1:99999999999999999999", "1:2:3", "٣:1"]
)
async def test_a_position_that_cannot_be_is_refused(
    client: httpx.AsyncClient, entries: str, position: str
) -> None:
    answer = await client.get(entries, headers=[(b"ledger-position", position.encode())])
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_PARAMETERS")


@pytest.mark.parametrize("path", ["", "/wallets", "/wallets/ledger-entries"])
async def test_another_business_sees_nothing_of_him(api: Api, customer: str, path: str) -> None:
    async with api.client("wl_test_other") as other:
        answer = await other.get(f"/customers/{customer}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_another_business_cannot_move_his_money(
    api: Api, client: httpx.AsyncClient, entries: str
) -> None:
    async with api.client("wl_test_other") as other:
        answer = await other.post(entries, json=CREDIT)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert (await client.get(entries)).json() == {"items": []}


async def test_reads_go_on_without_a_ledger_and_end_without_views(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    api.views.away = True
    for path in ("", f"/{customer}", f"/{customer}/wallets", f"/{customer}/wallets/ledger-entries"):
        answer = await client.get(f"/customers{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["x-should-retry"] == "true"


async def test_a_currency_must_be_open_to_move_money() -> None:
    api = make_api(currencies=("JPY",), usd_rates={"JPY": "0.0065"})
    async with api.client() as client:
        made = await client.post("/customers", json={"name": "A", "email": "e"})
        path = f"/customers/{made.json()['customer_id']}/wallets"
        refused = await client.post(f"{path}/ledger-entries", json=CREDIT)
        assert (refused.status_code, refused.json()["code"]) == (422, "UNSUPPORTED_CURRENCY")
        assert "ledger-position" not in refused.headers, "nothing was written"
        keyed = await client.post(f"{path}/ledger-entries", json={**CREDIT, "idempotency_key": "k"})
        assert (keyed.status_code, keyed.json()["code"]) == (422, "UNSUPPORTED_CURRENCY")
        assert "ledger-position" in keyed.headers, "the ledger looked first whether the key has an outcome"
        await client.post(f"{path}/ledger-entries", json={**CREDIT, "currency": "JPY", "amount": 1000})
        body = (await client.get(path)).json()
    assert [(item["currency"], item["balance"]) for item in body["items"]] == [("JPY", 1000)]
    assert body["total_balance_usd"] == 650
    assert decode_command(encode_command(api.ledger.commands[-1]))[1] == CreditWallet(
        currency="JPY", amount=1000
    )
