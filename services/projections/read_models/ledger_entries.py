"""What moved money in a customer's wallets, in which order?"""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType

from events.facts import Cause, Movement
from services.projections.read_models.event import Event
from services.projections.read_models.movement import movements
from services.projections.read_models.statement import Statement, statement


class LedgerEntry(Struct, kw_only=True):
    """A row, one for each money event; refusals are no entries."""

    shard: int
    sequence: int
    business_id: str
    mode: str
    customer_id: str
    entry_id: str
    currency: str
    is_credit: bool
    amount_minor: int
    balance_before_minor: int
    balance_after_minor: int
    cause: Cause
    counter_account: str
    reference: str | UnsetType
    reason: str | UnsetType
    created_at: str


# No ON CONFLICT: the checkpoint keeps repeats away, and a row that is there already would be a broken promise.
INSERT = """
    INSERT INTO ledger_entries (
        shard, sequence, business_id, mode, customer_id, entry_id, currency, is_credit, amount_minor,
        balance_before_minor, balance_after_minor, cause, counter_account, reference, reason, created_at)
    SELECT shard, sequence, business_id, mode, customer_id, entry_id, currency, is_credit, amount_minor,
           balance_before_minor, balance_after_minor, cause, counter_account, reference, reason, created_at
    FROM json_to_recordset(%s::json) AS new (
        shard int, sequence bigint, business_id text, mode text, customer_id text, entry_id text, currency text,
        is_credit boolean, amount_minor bigint, balance_before_minor bigint, balance_after_minor bigint,
        cause text, counter_account text, reference text, reason text, created_at timestamptz)
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if entries := rows(events):
        yield statement(INSERT, entries)


def rows(events: Sequence[Event]) -> list[LedgerEntry]:
    return [
        LedgerEntry(
            shard=event.shard,
            sequence=event.sequence,
            business_id=event.envelope.businessid,
            mode=event.envelope.mode,
            customer_id=event.envelope.subject,
            entry_id=fact.entry_id,
            currency=fact.currency,
            is_credit=sign > 0,
            amount_minor=fact.amount,
            balance_before_minor=fact.balance_before,
            balance_after_minor=fact.balance_after,
            cause=fact.cause,
            counter_account=fact.counter_account,
            reference=fact.reference,
            reason=_reason(fact),
            created_at=event.envelope.time,
        )
        for event, fact, sign in movements(events)
    ]


def _reason(fact: Movement) -> str | UnsetType:
    return UNSET if fact.personal is UNSET else fact.personal.reason
