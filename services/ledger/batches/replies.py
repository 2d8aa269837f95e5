"""Answers, built from the stored event: the first answer and a replay a year later say the same."""

from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_envelope, decode_fact
from events.envelope import Envelope
from events.facts import (
    AnyFact,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Shortfall,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
)
from events.ids import position
from events.recorded import Recorded
from events.replies import Outcome, Reply
from events.requested import (
    InvoiceSettled,
    InvoiceSettlementReturned,
    RefundMadeToWallet,
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
)

Made = InvoiceSettled | RefundRequested | RefundMadeToWallet | TopUpRequested


def from_event(envelope: Envelope, fact: AnyFact, registered: str, replayed: bool) -> Reply:
    """What the event means to whoever asked, still without a correlation. `registered`: when the customer was."""
    said = Reply(
        correlation="",
        outcome=Outcome.APPLIED,
        position=position(envelope.shard, int(envelope.sequence)),
        replayed=replayed,
        time=envelope.time,
    )
    match fact:
        case WalletCredited() | WalletDebited():
            return replace(
                said,
                registered=registered,
                entry_id=fact.entry_id,
                currency=fact.currency,
                amount=fact.amount,
                balance_before=fact.balance_before,
                balance_after=fact.balance_after,
            )
        case WalletDebitRefused():
            no = replace(said, outcome=Outcome.REFUSED, code=fact.refusal.value)
            return replace(no, currency=fact.currency, amount=fact.amount, balance_before=fact.balance)
        case CustomerCommandRefused():
            return replace(said, outcome=Outcome.REFUSED, code=fact.refusal.value)
        case InvoiceSettled() | RefundRequested() | RefundMadeToWallet() | TopUpRequested():
            return _of_request(replace(said, registered=registered), fact)
        case SubscriptionChangeRequested():
            return replace(said, registered=registered, object_id=fact.request_id)
        case CustomerBlocked():
            blocked = envelope.time if fact.since is UNSET else fact.since
            return replace(said, registered=registered, block_id=fact.block_id, blocked=blocked)
        case CustomerRegistered() | CustomerProfileChanged() | CustomerUnblocked():
            return replace(said, registered=registered)
        case CustomerClosed() | CustomerErased():
            return replace(said, registered=registered)
        case Recorded() | Shortfall() | InvoiceSettlementReturned():
            return replace(said, registered=registered)


def _of_request(said: Reply, fact: Made) -> Reply:
    match fact:
        case InvoiceSettled():
            return replace(
                said,
                object_id=fact.settlement_id,
                entry_id=fact.entry_id or "",
                currency=fact.currency,
                amount=fact.amount,
                applied=fact.applied,
                balance_before=fact.balance_before,
                balance_after=fact.balance_before - fact.applied,
            )
        case RefundRequested():
            asked = replace(said, object_id=fact.request_id, is_partial=fact.is_partial)
            return replace(asked, currency=fact.currency, amount=fact.amount)
        case RefundMadeToWallet(refund=refund):
            made = replace(said, object_id=refund.refund_id, is_partial=refund.is_partial is True)
            return replace(made, currency=refund.currency or "", amount=refund.amount)
        case TopUpRequested():
            return replace(said, object_id=fact.request_id, currency=fact.currency, amount=fact.amount)
        case _:
            assert_never(fact)


def from_stored(value: bytes, registered: str) -> Reply:
    """The answer of a receipt: the outcome of long ago, marked as replayed."""
    envelope = decode_envelope(value)
    return from_event(envelope, decode_fact(envelope), registered, replayed=True)
