"""Answers, built from the stored event: the first answer and a replay a year later say the same."""

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_envelope, decode_fact
from events.envelope import Envelope
from events.facts import (
    AnyFact,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.ids import position
from events.recorded import Recorded
from events.replies import Outcome, Reply


def from_event(correlation: str, envelope: Envelope, fact: AnyFact, registered: str, replayed: bool) -> Reply:
    """What the event means to whoever asked. `registered`: when the customer was."""
    said = Reply(
        correlation=correlation,
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
            return replace(
                said,
                outcome=Outcome.REFUSED,
                code=fact.refusal.value,
                currency=fact.currency,
                amount=fact.amount,
                balance_before=fact.balance,
            )
        case CustomerCommandRefused():
            return replace(said, outcome=Outcome.REFUSED, code=fact.refusal.value)
        case CustomerBlocked():
            blocked = envelope.time if fact.since is UNSET else fact.since
            return replace(said, registered=registered, block_id=fact.block_id, blocked=blocked)
        case CustomerRegistered() | CustomerProfileChanged() | CustomerUnblocked() | CustomerClosed():
            return replace(said, registered=registered)
        case Recorded() | WalletShortfallRecorded() | WalletShortfallReleased():
            return replace(said, registered=registered)


def from_stored(correlation: str, value: bytes, registered: str) -> Reply:
    """The answer of a receipt: the outcome of long ago, marked as replayed."""
    envelope = decode_envelope(value)
    return from_event(correlation, envelope, decode_fact(envelope), registered, replayed=True)
