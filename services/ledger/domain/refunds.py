"""Giving a payment back: by a request to upstream, or at once into the wallet; never more than was paid. Pure."""

from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from events.facts import AnyFact, CustomerCommandRefused, Refusal
from events.foreign import Refund
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.requested import RefundMadeToWallet, RefundRequested
from events.requests import RefundToWallet, RequestRefund
from services.ledger.domain.customer import Customer, gone
from services.ledger.domain.foreign import PARTS_MAX, Foreign, Seen, evolve_foreign
from services.ledger.domain.given import Given
from services.ledger.domain.rules import SUCCEEDED, Rule, is_top_up, part_amount
from services.ledger.domain.teller import Teller

FAILED = "failed"
SETTLED = frozenset({SUCCEEDED, FAILED})
WITHHELD = {
    "customer_closed": Refusal.CUSTOMER_CLOSED,
    "currency_not_open": Refusal.UNSUPPORTED_CURRENCY,
    "balance_limit": Refusal.BALANCE_LIMIT_EXCEEDED,
}


class _Share(NamedTuple):
    """What may be given back: `amount` of `payment`."""

    payment: Seen
    amount: int

    @property
    def is_partial(self) -> bool:
        return self.amount < self.payment.total


def refundable(state: Foreign) -> int:
    """Minor units of the payment that no refund holds: to the card or to the wallet, asked for, open or done."""
    if state.payment is None:
        return 0
    held = sum(part_amount(part, state.payment) for part in state.refunds.values() if part.status != FAILED)
    return max(0, state.payment.total - held)


def decide_refund(ask: RequestRefund, customer: Customer, state: Foreign, given: Given) -> list[AnyFact]:
    """One open refund a payment: who clicks twice has asked once."""
    found = gone(customer) or _unfit(ask, state)
    if found is None and _is_open(state):
        found = Refusal.EXISTING_REFUND_REQUEST_PROCESSING
    share = found or _share(ask, state)
    if isinstance(share, Refusal):
        return [_refused(ask, share)]
    fact = RefundRequested(
        request_id=given.made("ref_"),
        payment_id=ask.payment_id,
        currency=share.payment.currency,
        amount=share.amount,
        is_partial=share.is_partial,
        items=() if ask.items is UNSET else tuple(ask.items),
        personal=Personal(reason=ask.reason, metadata=ask.metadata),
    )
    return [fact]


def decide_to_wallet(ask: RefundToWallet, customer: Customer, state: Foreign, given: Given) -> list[AnyFact]:
    """A refund of ours that has succeeded: the rule for such refunds credits the wallet, and may take it back."""
    share = gone(customer) or _unfit(ask, state) or _not_to_wallet(state, given) or _share(ask, state)
    if isinstance(share, Refusal):
        return [_refused(ask, share)]
    refund = Refund(
        refund_id=given.made("ref_"),
        payment_id=ask.payment_id,
        status=SUCCEEDED,
        amount=share.amount,
        currency=share.payment.currency,
        is_partial=share.is_partial,
        created_at=given.time,
        wallet_action=Rule.REFUND_TO_WALLET.value,
    )
    fact = RefundMadeToWallet(refund=refund, personal=Personal(reason=ask.reason, metadata=ask.metadata))
    teller = Teller(customer, given)
    effects = tuple(teller.settle(evolve_foreign(state, fact), ask.payment_id))
    own = next(effect for effect in effects if effect.reference == refund.refund_id)
    if own.withheld is not UNSET:
        return [_refused(ask, WITHHELD[own.withheld])]
    return [replace(fact, effects=effects), *teller.facts]


def _unfit(ask: RequestRefund | RefundToWallet, state: Foreign) -> Refusal | None:
    """Nothing of such a payment is given back."""
    payment = state.payment
    if payment is None:
        return Refusal.NOT_FOUND
    if payment.status != SUCCEEDED:
        return Refusal.PAYMENT_NOT_SUCCEEDED
    if ask.currency not in (UNSET, payment.currency):
        return Refusal.UNSUPPORTED_CURRENCY
    if not payment.total:
        return Refusal.ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED
    return None


def _not_to_wallet(state: Foreign, given: Given) -> Refusal | None:
    """The money of a top-up is in the wallet already."""
    allowed = Rule.REFUND_TO_WALLET in given.rules and not is_top_up(state, given.rules)
    return None if allowed else Refusal.REFUND_TO_WALLET_NOT_ALLOWED


def _share(ask: RequestRefund | RefundToWallet, state: Foreign) -> _Share | Refusal:
    """What is wanted, if it is there."""
    payment, left = state.payment, refundable(state)
    assert payment is not None  # looked at before
    if not left:
        is_open = _is_open(state)
        return Refusal.EXISTING_REFUND_REQUEST_PROCESSING if is_open else Refusal.PAYMENT_ALREADY_REFUNDED
    wanted = _wanted(ask)
    amount = left if wanted is None else wanted
    if amount > left:
        return Refusal.REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT
    if len(state.stamps) >= PARTS_MAX:  # a refund that does not count could be made again
        return Refusal.PARTIAL_REFUND_NOT_ALLOWED
    return _Share(payment, amount)


def _wanted(ask: RequestRefund | RefundToWallet) -> int | None:
    """None: all that is left."""
    if isinstance(ask, RequestRefund) and ask.items is not UNSET:
        return sum(item.amount for item in ask.items)
    return None if ask.amount is UNSET else ask.amount


def _is_open(state: Foreign) -> bool:
    """A refund that upstream has not done and not given up."""
    return any(part.status not in SETTLED for part in state.refunds.values())


def _refused(ask: RequestRefund | RefundToWallet, refusal: Refusal) -> CustomerCommandRefused:
    wanted = _wanted(ask)
    return CustomerCommandRefused(
        command=ask.TYPE,
        refusal=refusal,
        currency=ask.currency,
        amount=UNSET if wanted is None else min(wanted, AMOUNT_MAX),
        reference=ask.payment_id,
        personal=Personal(reason=ask.reason),
    )
