"""Changing a subscription: one request at a time, answered by the next that upstream says of it."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET

from events.codec import decode_fact
from events.commands import AnyAsk
from events.foreign import Subscription
from events.recorded import Answer, SubscriptionRecorded
from events.replies import Reply
from events.requested import SubscriptionChangeRequested
from events.requests import ChangeInClear, RequestSubscriptionChange, SubscriptionChange
from events.sealing import unseal
from events.upstream import RecordSubscription
from tests.fakes import asking
from tests.unit.ledger.deck import Deck, envelopes, replies
from tests.unit.ledger.telling import MAI, told

A = "cus_a"
OPEN = "EXISTING_SUBSCRIPTION_CHANGE_PROCESSING"


def plan(at: int = 1, status: str = "active", **more: Any) -> RecordSubscription:
    said = Subscription(subscription_id="sub_1", status=status, **more)
    return RecordSubscription(told=told(at), subscription=said, customer=MAI, foreign={"at": at, **more})


def change(**fields: Any) -> RequestSubscriptionChange:
    return RequestSubscriptionChange(subscription_id="sub_1", change=SubscriptionChange(**fields))


CANCEL = change(status="cancelled")


def last(deck: Deck, *asks: AnyAsk) -> Reply:
    for ask in asks:
        batch = deck.play(deck.asked(A, ask))
    return replies(batch)[0]


@pytest.mark.parametrize(
    ("asks", "code"),
    [
        pytest.param([plan(), CANCEL], "", id="cancelled"),
        pytest.param([plan(status="on_hold"), CANCEL], "", id="on hold"),
        pytest.param([CANCEL], "NOT_FOUND", id="an unknown customer"),
        pytest.param([asking.REGISTER, CANCEL], "NOT_FOUND", id="an unknown subscription"),
        pytest.param([plan(status="cancelled"), CANCEL], "SUBSCRIPTION_INACTIVE", id="cancelled before"),
        pytest.param([plan(status="failed"), CANCEL], "SUBSCRIPTION_INACTIVE", id="never began"),
        pytest.param([plan(status="expired"), CANCEL], "SUBSCRIPTION_EXPIRED", id="over"),
        pytest.param([plan(), CANCEL, CANCEL], OPEN, id="twice"),
        pytest.param([plan(), CANCEL, change(status="paused")], OPEN, id="two things at once"),
        pytest.param([plan(1), CANCEL, plan(2), CANCEL], "", id="again, after the answer"),
        pytest.param([plan(2), CANCEL, plan(1), CANCEL], OPEN, id="what is older is no answer"),
    ],
)
def test_what_can_be_asked(asks: Sequence[AnyAsk], code: str) -> None:
    reply = last(Deck(), *asks)
    assert (reply.code, reply.object_id[:4]) == (code, "" if code else "scr_")


@pytest.mark.parametrize(
    ("asked", "news", "applied"),
    [
        pytest.param(CANCEL, plan(2, "cancelled"), True, id="as asked"),
        pytest.param(CANCEL, plan(2, "active"), False, id="otherwise"),
        pytest.param(change(cancel_at_next_billing_date=True),
                     plan(2, cancel_at_next_billing_date=True), True, id="a field"),
        pytest.param(change(cancel_at_next_billing_date=True, next_billing_date="2026-12-01T00:00:00.000000Z"),
                     plan(2, cancel_at_next_billing_date=True), False, id="one of two fields"),
        pytest.param(change(customer_name="Mai", cancel_reason="cancelled_by_customer"), plan(2), True,
                     id="what cannot be compared counts as done"),
    ],
)  # fmt: skip
def test_the_next_news_is_the_answer(
    asked: RequestSubscriptionChange, news: RecordSubscription, applied: bool
) -> None:
    deck = Deck()
    request = last(deck, plan(), asked).object_id
    assert answer(deck, news) == Answer(request_id=request, applied=applied)
    assert answer(deck, plan(9)) is UNSET


def answer(deck: Deck, news: RecordSubscription) -> object:
    [event] = envelopes(deck.play(deck.asked(A, news)))
    fact = decode_fact(event)
    assert isinstance(fact, SubscriptionRecorded)
    return fact.answer


def test_news_that_names_the_request_answers_it_although_other_news_came_between() -> None:
    deck = Deck()
    request = last(deck, plan(), CANCEL).object_id
    assert answer(deck, plan(2)) == Answer(request_id=request, applied=False)
    late = plan(3, "cancelled", request_id=request)
    assert answer(deck, late) == Answer(request_id=request, applied=True)
    assert answer(deck, plan(4, "cancelled", request_id="scr_another")) is UNSET


def test_what_is_settled_is_not_declined_by_news_that_still_name_it() -> None:
    """Metadata of a subscription stays on it: renewed, it is another than was asked for, and the change was made."""
    deck = Deck()
    dates = [f"2026-0{month}-01T00:00:00.000000Z" for month in (2, 3)]
    request = last(deck, plan(), change(next_billing_date=dates[0])).object_id
    done = plan(2, next_billing_date=dates[0], request_id=request)
    assert answer(deck, done) == Answer(request_id=request, applied=True)
    assert answer(deck, plan(3, next_billing_date=dates[1], request_id=request)) is UNSET


def test_what_names_people_is_sealed_and_the_rest_is_not() -> None:
    deck = Deck()
    last(deck, plan())
    asked = change(status="cancelled", cancellation_comment="too dear", metadata={"who": "Mai"})
    [event] = envelopes(deck.play(deck.asked(A, asked)))
    assert b"too dear" not in bytes(event.data)
    fact = unseal(decode_fact(event), bytes(32), event.stream, event.id)
    assert isinstance(fact, SubscriptionChangeRequested)
    assert fact.change == ChangeInClear(status="cancelled")
    assert fact.personal.change == {"cancellation_comment": "too dear", "metadata": {"who": "Mai"}}  # type: ignore[union-attr]
    assert event.stream == "subscription-sub_1"
