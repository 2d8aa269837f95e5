"""What upstream is asked, made of our events: in clear, and without the person where his key is gone."""

import json
from typing import Any

import jsonschema
import pytest

from events.generate import SCHEMAS
from services.intake.requests import asks_upstream, encode_request, owner, request_of
from tests.unit.events.test_golden import GOLDEN, KEY, STORED

ASKS = ["refund.requested.v1", "subscription.change_requested.v1", "wallet.top_up_requested.v1"]


def stored(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def asked(name: str, key: bytes | None = KEY) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(encode_request(request_of(stored(name), key)))
    return whole


def test_only_what_asks_upstream_is_published() -> None:
    assert sorted(name for name in STORED if asks_upstream(stored(name))) == ASKS


def test_what_a_caller_writes_makes_no_request() -> None:
    forged = stored("customer.blocked.v1").replace(
        b'"sealed":"1.', b'"note":"' + b"x" * 600 + b'\\"type\\":\\"refund.requested.v1\\"","sealed":"1.'
    )
    assert not asks_upstream(forged)


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("key", [KEY, None, bytes(32)], ids=["with his key", "erased", "another key"])
def test_a_request_fits_its_schemas(name: str, key: bytes | None) -> None:
    whole = asked(name, key)
    for path, part in (("request-envelope", whole), (f"requests/{name}", whole["data"])):
        schema = json.loads((SCHEMAS / f"{path}.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(part)
    assert (whole["subject"], whole["businessid"], whole["mode"]) == (
        "cus_0K9mWv3xQ7rT2yB5nLpZa",
        "bus_golden",
        "test",
    )
    assert owner(stored(name)) == owner(stored("customer.registered.v1"))


def test_a_request_says_all_in_clear() -> None:
    assert asked("refund.requested.v1")["data"] == {
        "request_id": "ref_6kJ5hG4fD3sA2qW1eR0tY",
        "payment_id": "pay_3fGh7JkL9pQrStUvWxYz1",
        "currency": "USD",
        "amount": 1500,
        "is_partial": True,
        "items": [{"item_id": "pdt_1", "amount": 1500}],
        "reason": "hỏng 📦",
        "metadata": {"ticket": "T-17", "calls": 2},
    }
    assert asked("subscription.change_requested.v1")["data"]["change"] == {
        "status": "cancelled",
        "cancel_reason": "cancelled_by_customer",
        "cancellation_feedback": "too_expensive",
        "billing": {"country": "VN"},
        "cancellation_comment": "đắt quá",
    }
    assert asked("wallet.top_up_requested.v1")["data"]["return_url"] == "https://shop.example/thanks?c=khai"


def test_without_the_key_money_and_ids_are_left() -> None:
    assert set(asked("refund.requested.v1", None)["data"]) == {
        *("request_id", "payment_id", "currency", "amount", "is_partial", "items")
    }
    assert asked("subscription.change_requested.v1", None)["data"]["change"] == {
        "status": "cancelled",
        "cancel_reason": "cancelled_by_customer",
        "cancellation_feedback": "too_expensive",
    }
