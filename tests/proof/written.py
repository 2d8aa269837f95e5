"""What the ledger has written, in the oracle's words."""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import UNSET

from events.codec import decode_envelope, decode_fact
from events.facts import (
    AnyFact,
    Movement,
    WalletCredited,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.recorded import SubscriptionRecorded
from events.requested import (
    InvoiceSettled,
    InvoiceSettlementReturned,
    RefundMadeToWallet,
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
)
from services.ledger.batches.batch import Batch
from tests.proof.accounts import Entry, Note


class Written(NamedTuple):
    """For one customer, in order."""

    entries: list[Entry]
    notes: list[Note]


def written_of(batch: Batch) -> dict[tuple[str, str], Written]:
    """By tenant and customer."""
    found: dict[tuple[str, str], Written] = {}
    for row in batch.events:
        envelope = decode_envelope(row.value)
        fact = decode_fact(envelope)
        own = found.setdefault((str(envelope.tenant), envelope.subject), Written([], []))
        if isinstance(fact, Movement):
            own.entries.append(_entry(fact))
        own.notes.extend(_notes(fact))
    return found


def _entry(fact: Movement) -> Entry:
    change = fact.amount if isinstance(fact, WalletCredited) else -fact.amount
    reference = "" if fact.reference is UNSET else fact.reference
    return Entry(fact.currency, change, fact.balance_before, fact.balance_after, fact.cause.value, reference)


def _notes(fact: AnyFact) -> Iterator[Note]:
    match fact:
        case WalletShortfallRecorded() | WalletShortfallReleased():
            sign = 1 if isinstance(fact, WalletShortfallRecorded) else -1
            yield "short", fact.currency, sign * fact.amount, fact.short, fact.cause.value, fact.reference
        case InvoiceSettled():
            yield "settled", fact.invoice_id, fact.currency, fact.amount, fact.applied
        case InvoiceSettlementReturned():
            yield "returned", fact.invoice_id, fact.payment_id, fact.currency, fact.amount
        case RefundRequested():
            yield (
                "refund_asked",
                fact.request_id,
                fact.payment_id,
                fact.currency,
                fact.amount,
                fact.is_partial,
            )
        case RefundMadeToWallet(refund=refund):
            made = refund.refund_id, refund.payment_id, refund.currency, refund.amount, refund.is_partial
            yield "refund_made", *made
        case TopUpRequested():
            yield "top_up_asked", fact.currency, fact.amount
        case SubscriptionChangeRequested():
            yield "change_asked", fact.subscription_id, fact.request_id
        case SubscriptionRecorded(answer=answer) if answer is not UNSET:
            yield "answered", fact.subscription.subscription_id, answer.request_id, answer.applied
        case _:
            return
