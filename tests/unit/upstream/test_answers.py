"""What the played payment service answers when the ledger asks it, as the ledger understands it."""

import json
from typing import Any

import msgspec
import pytest
from dodopayments.types import UnsafeUnwrapWebhookEvent
from pydantic import TypeAdapter

from events.codec import timestamp
from events.for_upstream import RequestEvent
from services.upstream.answers import Answers
from services.upstream.business import Business
from services.upstream.things import Thing
from services.upstream.trade import DAY, HOUR, MINUTE
from services.upstream.world import Delivery

START = 1_790_000_000_000_000
NOW = START + 5 * DAY
SDK: TypeAdapter[object] = TypeAdapter(UnsafeUnwrapWebhookEvent)


class Played:
    """Five days of a business, and then requests."""

    def __init__(self) -> None:
        self.business = Business(3, "bus_dev", "test", START, 100)
        self.answers = Answers(self.business)
        for _ in self.business.world.play(NOW):
            pass

    def thing(self, kind: str, status: str, **more: object) -> Thing:
        found = (
            thing
            for thing in self.business.world.books.things.values()
            if thing.payload_type == kind and thing.data["status"] == status and not thing.disputed
            if all(getattr(thing, name) == value for name, value in more.items())
        )
        return next(found)

    def ask(
        self, kind: str, data: dict[str, Any], name: str = "0:1", customer: str = "cus_x"
    ) -> list[dict[str, Any]]:
        """What comes of it within an hour."""
        event = RequestEvent(
            id=name, source="/shards/0", type=kind, subject=customer, time=timestamp(NOW), businessid="bus_dev",
            mode="test", data=msgspec.Raw(json.dumps(data).encode()),
        )  # fmt: skip
        self.answers.take(event)
        out = self.business.world.play(NOW + HOUR + MINUTE)
        told = [one for one in out if isinstance(one, Delivery) and data["request_id"] in one.value.decode()]
        for one in told:
            SDK.validate_json(one.value, strict=True)
        return [json.loads(one.value) for one in told]


def refund(payment: Thing, amount: int) -> dict[str, Any]:
    return {
        "request_id": "ref_" + "A" * 21, "payment_id": payment.name, "amount": amount, "is_partial": True,
        "currency": payment.data["currency"], "metadata": {"ticket": "7"},
    }  # fmt: skip


def test_a_refund_is_made_and_names_its_request() -> None:
    played = Played()
    payment = played.thing("Payment", "succeeded", parts=[])
    asked = refund(payment, 5)
    [answer] = played.ask("refund.requested.v1", asked)
    assert answer["type"] in ("refund.succeeded", "refund.failed")
    assert answer["data"]["metadata"] == {"ticket": "7", "request_id": asked["request_id"]}
    assert (answer["data"]["amount"], answer["data"]["payment_id"]) == (5, payment.name)


@pytest.mark.parametrize(("status", "more"), [("failed", 0), ("succeeded", 1)])
def test_what_cannot_be_given_back_fails(status: str, more: int) -> None:
    played = Played()
    payment = played.thing("Payment", status)
    [answer] = played.ask("refund.requested.v1", refund(payment, payment.refundable + more))
    assert (answer["type"], answer["data"]["status"]) == ("refund.failed", "failed")


def test_a_request_that_comes_twice_is_done_once() -> None:
    played = Played()
    payment = played.thing("Payment", "succeeded", parts=[])
    assert played.ask("refund.requested.v1", refund(payment, 5))
    assert played.ask("refund.requested.v1", refund(payment, 5)) == []


def test_a_top_up_is_a_payment_of_exactly_that_credit() -> None:
    asked = {"request_id": "top_" + "A" * 21, "currency": "INR", "amount": 12_345}
    answers = Played().ask("wallet.top_up_requested.v1", asked)
    last = answers[-1]["data"]
    assert last["metadata"] == {"wallet_action": "top_up", "request_id": asked["request_id"]}
    assert last["customer"]["customer_id"] == "cus_x"
    if last["status"] == "succeeded":
        assert last["total_amount"] - last["tax"] == 12_345


@pytest.mark.parametrize(
    ("change", "kind", "field", "value"),
    [
        ({"status": "cancelled"}, "subscription.cancelled", "status", "cancelled"),
        ({"status": "paused"}, "subscription.paused", "status", "paused"),
        ({"cancel_at_next_billing_date": True}, "subscription.updated", "cancel_at_next_billing_date", True),
        ({"tax_id": "DE1"}, "subscription.updated", "tax_id", "DE1"),
    ],
)
def test_a_subscription_is_changed_as_asked(
    change: dict[str, Any], kind: str, field: str, value: object
) -> None:
    played = Played()
    subscription = played.thing("Subscription", "active")
    asked = {"request_id": "scr_" + "A" * 21, "subscription_id": subscription.name, "change": change}
    answer = played.ask("subscription.change_requested.v1", asked)[0]
    assert (answer["type"], answer["data"][field]) == (kind, value)
    assert answer["data"]["metadata"]["request_id"] == asked["request_id"]


def test_a_subscription_that_is_over_is_told_as_it_is() -> None:
    played = Played()
    subscription = played.thing("Subscription", "failed")
    asked = {
        "request_id": "scr_" + "A" * 21,
        "subscription_id": subscription.name,
        "change": {"status": "active"},
    }
    [answer] = played.ask("subscription.change_requested.v1", asked)
    assert (answer["type"], answer["data"]["status"]) == ("subscription.updated", "failed")


def test_what_is_not_known_is_not_answered() -> None:
    asked = {"request_id": "scr_" + "A" * 21, "subscription_id": "sub_never", "change": {"status": "active"}}
    assert Played().ask("subscription.change_requested.v1", asked) == []
