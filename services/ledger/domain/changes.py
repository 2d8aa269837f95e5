"""Changing a subscription: asked for one at a time, and answered by what upstream says of it next. Pure."""

import msgspec
from msgspec import UNSET

from events.facts import AnyFact, CustomerCommandRefused, Refusal
from events.foreign import SUBSCRIPTION_OVER, Subscription
from events.personal import Personal
from events.recorded import Answer
from events.requested import SubscriptionChangeRequested
from events.requests import ChangeInClear, RequestSubscriptionChange, SubscriptionChange
from services.ledger.domain.customer import Customer, gone
from services.ledger.domain.foreign import Foreign, Plan
from services.ledger.domain.given import Given

_CLEAR = frozenset(ChangeInClear.__struct_fields__)
_TOLD = _CLEAR & frozenset(Subscription.__struct_fields__)


def decide_change(
    ask: RequestSubscriptionChange, customer: Customer, state: Foreign, given: Given
) -> list[AnyFact]:
    """One fact. What names people goes into the sealed part."""
    refusal = gone(customer) or _unfit(state.plan)
    if refusal is not None:
        return [
            CustomerCommandRefused(command=ask.TYPE, refusal=refusal, reference=ask.subscription_id),
        ]
    clear, sealed = split(ask.change)
    fact = SubscriptionChangeRequested(
        request_id=given.made("scr_"),
        subscription_id=ask.subscription_id,
        change=clear,
        personal=Personal(change=sealed) if sealed else UNSET,
    )
    return [fact]


def answered(plan: Plan, subscription: Subscription) -> Answer | None:
    """What this news says to the request that is open, or to the last one where it names that.

    What is sealed cannot be compared: told of again, it counts as done. Whoever names a request that is done goes on to
    name it: what he changes later says nothing against it.
    """
    named = subscription.request_id == plan.request
    if not plan.request or not (plan.is_open or named):
        return None
    asked = {name: value for name in _TOLD if (value := getattr(plan.asked, name)) is not UNSET}
    applied = all(getattr(subscription, name) == value for name, value in asked.items())
    return Answer(request_id=plan.request, applied=applied) if plan.is_open or applied else None


def split(change: SubscriptionChange) -> tuple[ChangeInClear, dict[str, object]]:
    """What names nobody, and the rest."""
    fields = msgspec.to_builtins(change)
    clear = {name: value for name, value in fields.items() if name in _CLEAR}
    return msgspec.convert(clear, ChangeInClear), {n: v for n, v in fields.items() if n not in _CLEAR}


def _unfit(plan: Plan) -> Refusal | None:
    if not plan.status:
        return Refusal.NOT_FOUND
    if plan.status in SUBSCRIPTION_OVER:
        expired = plan.status == "expired"
        return Refusal.SUBSCRIPTION_EXPIRED if expired else Refusal.SUBSCRIPTION_INACTIVE
    return Refusal.EXISTING_SUBSCRIPTION_CHANGE_PROCESSING if plan.is_open else None
