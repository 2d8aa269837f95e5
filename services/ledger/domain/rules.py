"""What upstream's objects mean for a wallet: the table of rules. Pure, and a function of what is known, in any order.

Each rule says what it should have moved in all (+ credited, - taken) for an object, from the newest that is known of a
payment with its refunds and disputes. What was moved already is subtracted, so each effect happens once. What a payment
that failed has of its invoice's settlements is given (`from_wallet`): that depends on when they were made.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from events.facts import Cause
from events.foreign import FAILED
from services.ledger.domain.foreign import Foreign, Seen


class Rule(StrEnum):
    """The rows of the table; configuration may leave some out."""

    TOP_UP = "top_up"
    """A payment with `wallet_action` top_up succeeds: its amount without tax; less what went back to the card."""
    REFUND_TO_WALLET = "refund_to_wallet"
    """A refund with `wallet_action` refund_to_wallet succeeds; never more than is refundable with other refunds."""
    DISPUTE = "dispute"
    """A dispute on a top-up is open or lost: taken, as far as it is there; won: given back."""
    PAYMENT_REVERSAL = "payment_reversal"
    """A payment failed whose invoice the wallet had paid a part of: given back; it did not fail: taken again."""


class Causes(NamedTuple):
    """Why money moves: by the rule, and when the rule takes it back."""

    credit: Cause
    debit: Cause


CAUSES = {
    Rule.TOP_UP: Causes(Cause.TOP_UP, Cause.TOP_UP_REVERSAL),
    Rule.REFUND_TO_WALLET: Causes(Cause.REFUND, Cause.REFUND_REVERSAL),
    Rule.DISPUTE: Causes(Cause.DISPUTE_REVERSAL, Cause.DISPUTE),
    Rule.PAYMENT_REVERSAL: Causes(Cause.PAYMENT_REVERSAL, Cause.INVOICE_PAYMENT),
}

SUCCEEDED = "succeeded"
NO_LONGER_HELD = frozenset({"dispute_won", "dispute_cancelled"})


class Target(NamedTuple):
    """What a rule should have moved for the object `reference`."""

    rule: Rule
    currency: str
    reference: str
    amount: int

    @property
    def key(self) -> str:
        """Under which it is booked."""
        return f"{self.rule} {self.currency} {self.reference}"


def targets(state: Foreign, payment_id: str, rules: frozenset[str]) -> list[Target]:
    """Of all that is known of a payment; what was booked and is wanted no more is back to zero."""
    wanted = list(_wanted(state, payment_id, rules))
    over = state.booked.keys() - {target.key for target in wanted}
    for rule, currency, reference in sorted(key.split(" ") for key in over):
        if rule in rules:
            wanted.append(Target(Rule(rule), currency, reference, 0))
    return wanted


def _wanted(state: Foreign, payment_id: str, rules: frozenset[str]) -> Iterator[Target]:
    """Nothing while the payment itself is not known."""
    payment = state.payment
    if payment is None:
        return
    if Rule.PAYMENT_REVERSAL in rules:
        for currency, amount in sorted(state.from_wallet.items()):
            back = amount if payment.status in FAILED else 0
            yield Target(Rule.PAYMENT_REVERSAL, currency, payment_id, back)
    succeeded = payment.status == SUCCEEDED
    topped_up = is_top_up(state, rules)
    refunds = {name: part for name, part in state.refunds.items() if part.status == SUCCEEDED}
    to_card = sum(part_amount(part, payment) for part in refunds.values() if not _to_wallet(part))
    left = payment.total - to_card if succeeded and not topped_up else 0
    if Rule.REFUND_TO_WALLET in rules:
        for name, part in sorted(state.refunds.items()):
            if _to_wallet(part):
                wanted = part_amount(part, payment) if name in refunds and _comparable(part, payment) else 0
                amount = max(0, min(wanted, left))
                left -= amount
                yield Target(Rule.REFUND_TO_WALLET, payment.currency, name, amount)
    if not topped_up:
        return
    credited = max(0, payment.amount - to_card) if succeeded else 0
    if Rule.TOP_UP in rules:
        yield Target(Rule.TOP_UP, payment.currency, payment_id, credited)
    else:  # it stays with the wallet, and so with what a dispute may hold
        credited = _given(state)
    if Rule.DISPUTE in rules:
        yield from _disputed(state, payment, credited)


def is_top_up(state: Foreign, rules: frozenset[str]) -> bool:
    """Whether the wallet has, or gets, the money of the payment; it has, where the rule was switched off since."""
    if Rule.TOP_UP not in rules:
        return _given(state) > 0
    return state.payment is not None and state.payment.action == Rule.TOP_UP


def _given(state: Foreign) -> int:
    """What the wallet has of the payment by the rule for top-ups."""
    return sum(done.moved for key, done in state.booked.items() if key.startswith(f"{Rule.TOP_UP} "))


def _disputed(state: Foreign, payment: Seen, credited: int) -> Iterator[Target]:
    """Together never more than the top-up gave."""
    for name, part in sorted(state.disputes.items()):
        held = part.status not in NO_LONGER_HELD
        amount = min(part_amount(part, payment), credited) if held else 0
        credited -= amount
        yield Target(Rule.DISPUTE, payment.currency, name, -amount)


def _to_wallet(part: Seen) -> bool:
    return part.action == Rule.REFUND_TO_WALLET


def _comparable(part: Seen, payment: Seen) -> bool:
    """Nothing converts one currency into another."""
    return part.currency in ("", payment.currency)


def part_amount(part: Seen, payment: Seen) -> int:
    """Of a refund or dispute; one without an amount in the payment's currency is of all of the payment."""
    return part.amount if part.amount >= 0 and _comparable(part, payment) else payment.total
