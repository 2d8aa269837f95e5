"""What upstream said of one object, as far as decisions need it: a payment with its refunds and disputes, or another."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

from msgspec import UNSET, Struct
from msgspec.structs import replace

from events import foreign
from events.facts import ForeignFact
from events.foreign import Effect
from events.recorded import (
    DisputeRecorded,
    LicenceKeyRecorded,
    PaymentRecorded,
    Recorded,
    RefundRecorded,
    SubscriptionRecorded,
)
from events.requested import RefundMadeToWallet, RefundRequested, SubscriptionChangeRequested
from events.requests import ChangeInClear

PARTS_MAX = 1_000
"""Refunds and disputes of one payment that have a say in what follows."""
REQUESTED = "requested"
"""Status of a refund that upstream has not said anything of."""


class Seen(NamedTuple):
    """The newest of a payment, refund or dispute. `amount` of a payment: without its tax; -1: all of the payment."""

    status: str
    currency: str = ""
    amount: int = -1
    total: int = 0
    action: str = ""


class Booked(NamedTuple):
    """What a rule has done for an object: moved in the wallet (+ credited, - taken), and what it lacked."""

    moved: int = 0
    short: int = 0


class Plan(NamedTuple):
    """The newest of a subscription, and the last change that was asked for: open while upstream has said nothing."""

    status: str = ""
    request: str = ""
    asked: ChangeInClear = ChangeInClear()
    is_open: bool = False


class Foreign(Struct, frozen=True, array_like=True, tag=1):
    """Decision state: no personal data. Keys of `booked` are `rule currency reference`.

    `asked`: refunds as we asked upstream for them. `from_wallet`: by currency, what the wallet had paid of this payment's
    invoice when it failed.
    """

    version: int = 0
    stamps: Mapping[str, str] = {}
    payment: Seen | None = None
    refunds: Mapping[str, Seen] = {}
    disputes: Mapping[str, Seen] = {}
    booked: Mapping[str, Booked] = {}
    from_wallet: Mapping[str, int] = {}
    plan: Plan = Plan()
    asked: Mapping[str, Seen] = {}


NOTHING_SAID = Foreign()


def name_of(fact: ForeignFact) -> str:
    """The object within its aggregate."""
    match fact:
        case PaymentRecorded():
            return fact.payment.payment_id
        case RefundRecorded() | RefundMadeToWallet():
            return f"refund {fact.refund.refund_id}"
        case RefundRequested():
            return f"refund {fact.request_id}"
        case DisputeRecorded():
            return f"dispute {fact.dispute.dispute_id}"
        case SubscriptionRecorded():
            return fact.subscription.subscription_id
        case SubscriptionChangeRequested():
            return fact.subscription_id
        case LicenceKeyRecorded():
            return fact.licence_key.licence_key_id
        case _:
            assert_never(fact)


def is_kept(state: Foreign, fact: ForeignFact) -> bool:
    """Whether it has a say. Nothing may follow from what has none: it would follow from each such fact again."""
    return name_of(fact) in state.stamps or len(state.stamps) < PARTS_MAX


def evolve_foreign(state: Foreign, fact: ForeignFact) -> Foreign:
    """Total: history is folded, never judged."""
    name = name_of(fact)
    seen = replace(state, version=state.version + 1)
    if isinstance(fact, SubscriptionChangeRequested):
        return replace(seen, plan=Plan(state.plan.status, fact.request_id, fact.change, is_open=True))
    if not is_kept(state, fact):
        return seen
    seen = replace(seen, stamps={**state.stamps, name: stamp_of(fact)})
    match fact:
        case PaymentRecorded():
            return booked(_paid(seen, fact), fact.effects)
        case RefundRecorded() | RefundMadeToWallet():
            refund = fact.refund
            part = Seen(refund.status, *_money(refund), action=refund.wallet_action or "")
            return booked(replace(seen, refunds={**seen.refunds, refund.refund_id: part}), fact.effects)
        case RefundRequested():
            part = Seen(REQUESTED, fact.currency, fact.amount)
            own = {fact.request_id: part}
            return replace(seen, refunds={**seen.refunds, **own}, asked={**seen.asked, **own})
        case DisputeRecorded():
            dispute = fact.dispute
            part = Seen(dispute.dispute_status, *_money(dispute))
            return booked(replace(seen, disputes={**seen.disputes, dispute.dispute_id: part}), fact.effects)
        case SubscriptionRecorded():
            return replace(seen, plan=seen.plan._replace(status=fact.subscription.status, is_open=False))
        case LicenceKeyRecorded():
            return seen
        case _:
            assert_never(fact)


def stamp_of(fact: ForeignFact) -> str:
    """What we made ourselves has none: whatever upstream says of it is newer."""
    return fact.stamp if isinstance(fact, Recorded) else ""


def _paid(seen: Foreign, fact: PaymentRecorded) -> Foreign:
    seen = replace(seen, payment=_payment(fact.payment))
    if fact.from_wallet is UNSET:
        return seen
    return replace(seen, from_wallet={**seen.from_wallet, fact.from_wallet.currency: fact.from_wallet.amount})


def booked(state: Foreign, effects: Iterable[Effect]) -> Foreign:
    """With what followed for the wallet."""
    new = {f"{e.rule} {e.currency} {e.reference}": Booked(e.moved, e.short) for e in effects}
    return replace(state, booked={**state.booked, **new}) if new else state


def _payment(payment: foreign.Payment) -> Seen:
    return Seen(
        payment.status,
        payment.currency,
        max(0, payment.total_amount - (payment.tax or 0)),
        payment.total_amount,
        payment.wallet_action or "",
    )


def _money(part: foreign.Refund | foreign.Dispute) -> tuple[str, int]:
    return part.currency or "", -1 if part.amount is UNSET else part.amount
