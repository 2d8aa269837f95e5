"""What is asked about upstream's objects, over a ledger in memory: who may, what is sent on, what is refused before."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from events.codec import decode_command, encode_command
from events.facts import Refusal
from events.replies import Outcome, Reply
from services.api.auth import Caller
from services.api.foreign_ports import Person, Requested, Told
from services.api.keys import secret_hash
from services.nesting import NESTED_MAX
from tests.unit.api.fakes import OTHER, TENANT, Api

NOW = "2026-11-23T10:00:00.000000Z"
SECRET = "wl_test_refunds"
MADE = {"correlation": "", "outcome": Outcome.APPLIED, "position": "0:1", "time": NOW}
REF, SCR = "ref_" + "a" * 21, "scr_" + "b" * 21
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(autouse=True)
def told(api: Api) -> None:
    """A payment and a subscription of one customer, and a key that may refund and read but not write."""
    person = Person("cus_1", "Mai", "mai@example.com", None, {"tier": "gold"})
    known = {"payment_id": "pay_1", "settlement_currency": "USD", "product_cart": [{"product_id": "pdt_1"}]}
    row = {"currency": "USD", "brand_id": "bus_one", "total_amount": 1_100}
    api.foreign.told[TENANT, "pay_1"] = Told(person, MOMENT, MOMENT, known, {}, row)
    wide = known | {
        "product_cart": [{"product_id": "pdt_1"}, {"product_id": "pdt_2"}],
        "settlement_currency": "INR",
    }
    api.foreign.told[TENANT, "pay_2"] = Told(person, MOMENT, MOMENT, wide, {}, row)
    bare = {"payment_id": "pay_3", "settlement_currency": "USD"}
    api.foreign.told[TENANT, "pay_3"] = Told(person, MOMENT, MOMENT, bare, {}, row)
    plan = {"status": "active", "brand_id": "bus_one"}
    api.foreign.told[TENANT, "sub_1"] = Told(
        person, MOMENT, MOMENT, {"subscription_id": "sub_1", "currency": "USD"}, {}, plan
    )
    api.keys[secret_hash(SECRET)] = Caller("key_refunds", TENANT, frozenset({"read", "refund"}), float("inf"))
    api.keys[secret_hash("wl_test_theirs")] = Caller("key_theirs", OTHER, frozenset({"refund"}), float("inf"))


def said(api: Api, **fields: Any) -> None:
    api.ledger.next = Reply(**MADE | fields)


async def refunded(api: Api, body: dict[str, Any], path: str = "/refunds", **headers: str) -> httpx.Response:
    async with api.client(SECRET) as client:
        return await client.post(path, json=body, headers=headers)


def sent(api: Api) -> dict[str, Any]:
    """The data of the last command, and its key."""
    command, _ = decode_command(encode_command(api.ledger.commands[-1]))
    data: dict[str, Any] = json.loads(bytes(command.data))
    return data | {"type": command.type, "subject": command.subject}


async def test_a_refund_is_pending_and_says_what_will_be_given_back(api: Api) -> None:
    said(api, object_id=REF, currency="USD", amount=1_100)
    body = {"payment_id": "pay_1", "reason": "broken", "metadata": {"a": 1}, "currency": None}
    answer = await refunded(api, body, **{"idempotency-key": "k"})
    assert answer.status_code == 200
    assert answer.json() == {
        "refund_id": REF, "payment_id": "pay_1", "business_id": "bus_one", "brand_id": "bus_one", "status": "pending",
        "amount": 1_100, "currency": "USD", "is_partial": False, "reason": "broken", "metadata": {"a": 1},
        "created_at": "2026-11-23T10:00:00Z", "network_reference": None, "network_reference_type": None,
        "network_reference_updated_at": None,
        "customer": {
            "customer_id": "cus_1", "name": "Mai", "email": "mai@example.com", "phone_number": None,
            "metadata": {"tier": "gold"},
        },
    }  # fmt: skip
    assert (answer.headers["ledger-request-id"], answer.headers["ledger-position"]) == (REF, "0:1")
    assert sent(api) == {
        "type": "refund.request.v1", "subject": "cus_1", "payment_id": "pay_1", "reason": "broken",
        "metadata": {"a": 1},
    }  # fmt: skip
    assert api.ledger.commands[-1].idempotencykey == "k"


@pytest.mark.parametrize(
    ("payment", "items", "wanted"),
    [
        pytest.param("pay_1", [], None, id="no items: all"),
        pytest.param("pay_1", [{"item_id": "pdt_1"}], None, id="the only item: all"),
        pytest.param("pay_2", [{"item_id": "pay_2"}], None, id="the payment as its item: all"),
        pytest.param("pay_1", [{"item_id": "pdt_1", "amount": 5}], [5], id="a part of it"),
        pytest.param("pay_3", [{"item_id": "pay_3", "amount": 5}], [5], id="a part of a payment without a cart"),
        pytest.param("pay_2", [{"item_id": "pdt_1", "amount": 5}, {"item_id": "pdt_2", "amount": 6}], [5, 6], id="of two"),
    ],
)  # fmt: skip
async def test_items_become_amounts(api: Api, payment: str, items: list[dict[str, Any]], wanted: Any) -> None:
    said(api, object_id=REF, currency="USD", amount=5)
    answer = await refunded(api, {"payment_id": payment, "items": items, "currency": "USD"})
    assert answer.status_code == 200, answer.text
    assert [item["amount"] for item in sent(api).get("items", [])] == (wanted or [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param({"payment_id": "pay_2", "items": [{"item_id": "pdt_1"}]}, "UNSUPPORTED_CURRENCY", id="whose currency?"),
        pytest.param({"payment_id": "pay_2", "currency": "USD", "items": [{"item_id": "pdt_1"}]},
                     "PARTIAL_REFUND_NOT_ALLOWED", id="an amount that nobody knows"),
        pytest.param({"payment_id": "pay_1", "items": [{"item_id": "pdt_1", "amount": 5, "tax_inclusive": False}]},
                     "PARTIAL_REFUND_NOT_ALLOWED", id="a tax that nobody knows"),
        pytest.param({"payment_id": "pay_1", "items": [{"item_id": "pdt_9", "amount": 5}]},
                     "LINE_ITEM_NOT_FOUND", id="no item"),
        pytest.param({"payment_id": "pay_3", "items": [{"item_id": "pdt_1", "amount": 5}]},
                     "LINE_ITEM_NOT_FOUND", id="no item of a payment without a cart"),
        pytest.param({"payment_id": "pay_1", "items": [{"item_id": "pdt_1", "amount": 0}]},
                     "LINE_ITEM_REFUND_AMOUNT_TOO_LOW", id="nothing"),
        pytest.param({"payment_id": "pay_1", "items": 2 * [{"item_id": "pdt_1", "amount": 1}]},
                     "DUPLICATE_LINE_ITEMS_IN_REQUEST", id="twice"),
        pytest.param({"payment_id": "pay_1", "items": [{"item_id": "pdt_1", "amount": -1}]},
                     "INVALID_REQUEST_BODY", id="less"),
        pytest.param({"payment_id": "pay_1", "reason": "x" * 3_001}, "INVALID_REQUEST_BODY", id="a novel"),
        pytest.param({"payment_id": "pay_1", "metadata": {"wallet_action": "refund_to_wallet"}},
                     "INVALID_REQUEST_PARAMETERS", id="both to the card and to the wallet"),
        pytest.param({"payment_id": ""}, "INVALID_REQUEST_BODY", id="no payment"),
        pytest.param({}, "INVALID_REQUEST_BODY", id="nothing said"),
    ],
)  # fmt: skip
async def test_what_cannot_be_known_is_not_asked(api: Api, body: dict[str, Any], code: str) -> None:
    answer = await refunded(api, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert api.ledger.commands == []


@pytest.mark.parametrize("path", ["/refunds", "/v1/refunds/to-wallet"])
async def test_refunds_need_their_scope_and_a_payment_of_the_tenant(api: Api, path: str) -> None:
    assert (await refunded(api, {"payment_id": "pay_9"}, path)).status_code == 404
    for secret, status in (("wl_test_all", 401), ("wl_test_reader", 401), ("wl_test_theirs", 404)):
        async with api.client(secret) as client:
            assert (await client.post(path, json={"payment_id": "pay_1"})).status_code == status
    assert api.ledger.commands == []


@pytest.mark.parametrize("refusal", [code for code in Refusal if "REFUND" in code or "PAYMENT" in code])
async def test_a_refusal_is_no_error_that_the_sdk_would_repeat(api: Api, refusal: Refusal) -> None:
    said(api, outcome=Outcome.REFUSED, code=refusal)
    answer = await refunded(api, {"payment_id": "pay_1"})
    assert (answer.json()["code"], answer.headers["ledger-position"]) == (refusal, "0:1")
    assert answer.status_code in (400, 422)


async def test_a_refund_to_the_wallet_is_done(api: Api) -> None:
    said(api, object_id=REF, currency="USD", amount=5, is_partial=True)
    answer = await refunded(
        api, {"payment_id": "pay_1", "amount": 5, "reason": "sorry"}, "/v1/refunds/to-wallet"
    )
    assert (answer.json()["status"], answer.json()["is_partial"]) == ("succeeded", True)
    assert "ledger-request-id" not in answer.headers
    assert sent(api) == {
        "type": "refund.to_wallet.v1", "subject": "cus_1", "payment_id": "pay_1", "amount": 5, "reason": "sorry",
    }  # fmt: skip


async def test_a_subscription_is_shown_as_it_is_known(api: Api, client: httpx.AsyncClient) -> None:
    said(api, object_id=SCR)
    body = {
        "cancel_at_next_billing_date": True,
        "next_billing_date": "2026-12-01T07:00:00+07:00",
        "tax_id": None,
    }
    answer = await client.patch("/subscriptions/sub_1", json=body)
    assert (answer.status_code, answer.json()["status"]) == (200, "active")
    assert answer.headers["ledger-request-id"] == SCR
    assert sent(api) == {
        "type": "subscription.request_change.v1", "subject": "cus_1", "subscription_id": "sub_1",
        "change": {"cancel_at_next_billing_date": True, "next_billing_date": "2026-12-01T00:00:00.000000Z"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"pause": True}, "INVALID_REQUEST_PARAMETERS"),
        ({"pause": False}, "INVALID_REQUEST_PARAMETERS"),
        ({"status": "paused", "tax_id": "x"}, "INVALID_REQUEST_PARAMETERS"),
        ({"status": "active", "metadata": {}}, "INVALID_REQUEST_PARAMETERS"),
        ({"status": "expired"}, "INVALID_REQUEST_PARAMETERS"),
        ({"status": "gone"}, "INVALID_REQUEST_BODY"),
        ({}, "INVALID_REQUEST_PARAMETERS"),
        ({"status": None}, "INVALID_REQUEST_PARAMETERS"),
        ({"next_billing_date": "soon"}, "INVALID_REQUEST_BODY"),
        ({"next_billing_date": "0001-01-01T00:00:00+14:00"}, "INVALID_REQUEST_PARAMETERS"),
        ({"metadata": {"a b": 1}}, "INVALID_REQUEST_BODY"),
    ],
)
async def test_a_change_that_makes_no_sense(
    api: Api, client: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    answer = await client.patch("/subscriptions/sub_1", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert api.ledger.commands == []


async def test_a_change_is_not_nested_deeper_than_whoever_reads_it_later_can(
    api: Api, client: httpx.AsyncClient
) -> None:
    async def changed(levels: int) -> int:
        said(api, object_id=SCR)
        body = b'{"billing":' + b'{"a":' * levels + b"1" + b"}" * (levels + 1)
        return (await client.patch("/subscriptions/sub_1", content=body)).status_code

    assert await changed(NESTED_MAX - 1) == 200
    commands = len(api.ledger.commands)
    assert {await changed(levels) for levels in (NESTED_MAX, 500, 970)} == {422}
    assert len(api.ledger.commands) == commands


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/refunds", {"payment_id": "pay_1"}),
        ("POST", "/v1/refunds/to-wallet", {"payment_id": "pay_1"}),
        ("PATCH", "/subscriptions/sub_1", {}),
        ("POST", "/v1/customers/cus_1/wallets/top-ups", {"currency": "USD", "amount": 500}),
    ],
)
async def test_metadata_has_fifty_pairs_and_numbers_that_can_be_sent_back(
    api: Api, method: str, path: str, body: dict[str, Any]
) -> None:
    everything = frozenset({"read", "write", "refund"})
    api.keys[secret_hash("wl_test_everything")] = Caller("key_everything", TENANT, everything, float("inf"))
    fifty = {f"k{number}": number for number in range(50)}
    async with api.client("wl_test_everything") as client:
        answer = await client.request(method, path, json=body | {"metadata": fifty | {"one": "more"}})
        assert (answer.status_code, answer.json()["code"]) == (422, "MAXIMUM_KEYS_REACHED")
        answer = await client.request(method, path, json=body | {"metadata": {"a": 1e20}})
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_BODY")
        assert "<= 9007199254740991" in answer.json()["message"], "which rule"
        assert api.ledger.commands == []
        said(api, object_id=REF, currency="USD", amount=5)
        assert (await client.request(method, path, json=body | {"metadata": fifty})).status_code == 200


async def test_a_currency_that_is_open_is_not_said_to_be_closed(api: Api) -> None:
    """The ledger refuses with one code what is not open and what is not the payment's."""
    said(api, outcome=Outcome.REFUSED, code=Refusal.UNSUPPORTED_CURRENCY)
    answer = await refunded(api, {"payment_id": "pay_1", "currency": "INR"})
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_CURRENCY")
    assert "or not that of the payment or invoice" in answer.json()["message"]


async def test_a_subscription_nobody_told_of_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.patch("/subscriptions/sub_9", json={"status": "cancelled"})).status_code == 404


async def test_a_settlement_says_what_remains(client: httpx.AsyncClient, customer: str) -> None:
    wallets = f"/customers/{customer}/wallets"
    credit = {"currency": "USD", "amount": 300, "entry_type": "credit"}
    await client.post(f"{wallets}/ledger-entries", json=credit)
    body = {"invoice_id": "inv_1", "currency": "USD", "amount": 500}
    answer = await client.post(f"/v1{wallets}/settlements", json=body)
    paid = (await client.get(f"{wallets}/ledger-entries")).json()["items"][0]
    assert (paid["amount"], paid["is_credit"], paid["reference_object_id"]) == (300, False, "inv_1")
    assert answer.json()["settlement_id"].startswith("set_")
    assert answer.json() == {
        "settlement_id": answer.json()["settlement_id"], "invoice_id": "inv_1", "customer_id": customer,
        "currency": "USD", "amount": 500, "applied": 300, "remaining": 200, "balance": 0, "entry_id": paid["id"],
        "created_at": paid["created_at"],
    }  # fmt: skip
    answer = await client.post(f"/v1{wallets}/settlements", json=body)
    assert (answer.json()["applied"], answer.json()["remaining"], answer.json()["entry_id"]) == (0, 500, None)
    answer = await client.post(f"/v1{wallets}/settlements", json=body | {"currency": "EUR"})
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_CURRENCY")


async def test_a_top_up_is_pending(client: httpx.AsyncClient, customer: str) -> None:
    path = f"/v1/customers/{customer}/wallets/top-ups"
    body = {"currency": "USD", "amount": 500, "return_url": "https://shop.example"}
    answer = await client.post(path, json=body)
    assert (answer.json()["amount"], answer.json()["status"]) == (500, "pending")
    assert answer.headers["ledger-request-id"] == answer.json()["request_id"]
    assert answer.json()["request_id"].startswith("top_")
    for wrong in ({"amount": 0}, {"currency": "EUR"}, {"return_url": "x" * 3_000}):
        answer = await client.post(path, json=body | wrong)
        assert answer.status_code == 422


async def test_requests_are_listed_by_pages(api: Api, client: httpx.AsyncClient, customer: str) -> None:
    row = Requested(REF, "refund", "pending", "pay_1", "USD", 5, MOMENT, MOMENT)
    api.foreign.requests_found = [row, row._replace(request_id="ref_2"), row._replace(request_id="ref_3")]
    first = (await client.get(f"/v1/customers/{customer}/requests?limit=2")).json()
    assert [item["request_id"] for item in first["items"]] == [REF, "ref_2"]
    assert first["items"][0] == {
        "request_id": REF, "kind": "refund", "status": "pending", "object_id": "pay_1", "currency": "USD", "amount": 5,
        "created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z",
    }  # fmt: skip
    await client.get(f"/v1/customers/{customer}/requests?cursor={first['next_cursor']}")
    assert api.foreign.asked[-1] == (TENANT, (customer, 25, (MOMENT, "ref_2")))
    assert (await client.get("/v1/customers/cus_9/requests")).status_code == 404
    elsewhere = await client.get(f"/v1/customers/{customer}/transactions?cursor={first['next_cursor']}")
    assert elsewhere.json()["code"] == "INVALID_CURSOR"
