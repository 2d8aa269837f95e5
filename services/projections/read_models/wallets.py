"""What is the balance of a customer in a currency?"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.projections.read_models.event import Event
from services.projections.read_models.movement import movements
from services.projections.read_models.statement import Statement, statement


class Wallet(Struct, kw_only=True):
    """A row: the balance after the newest entry."""

    business_id: str
    mode: str
    customer_id: str
    currency: str
    balance_minor: int
    shard: int
    sequence: int
    updated_at: str


UPSERT = """
    INSERT INTO wallets (business_id, mode, customer_id, currency, balance_minor, shard, sequence, updated_at)
    SELECT business_id, mode, customer_id, currency, balance_minor, shard, sequence, updated_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, currency text, balance_minor bigint, shard int,
        sequence bigint, updated_at timestamptz)
    ON CONFLICT (business_id, mode, customer_id, currency) DO UPDATE SET
        balance_minor = excluded.balance_minor, sequence = excluded.sequence, updated_at = excluded.updated_at
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if rows := fold(events):
        yield statement(UPSERT, rows)


def fold(events: Sequence[Event]) -> list[Wallet]:
    """One row per wallet: each money event says the balance after it, so the last one counts."""
    wallets: dict[tuple[str, str, str, str], Wallet] = {}
    for event, fact, _ in movements(events):
        envelope = event.envelope
        wallets[envelope.businessid, envelope.mode, envelope.subject, fact.currency] = Wallet(
            business_id=envelope.businessid,
            mode=envelope.mode,
            customer_id=envelope.subject,
            currency=fact.currency,
            balance_minor=fact.balance_after,
            shard=event.shard,
            sequence=event.sequence,
            updated_at=envelope.time,
        )
    return list(wallets.values())
