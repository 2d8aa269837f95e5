"""Which payments does a cardholder's bank ask back, and how did it end?"""

from collections.abc import Iterator, Sequence

from msgspec import UnsetType

from events.recorded import DisputeRecorded
from services.projections.read_models.event import Event
from services.projections.read_models.newest import Newest, common, folded, upsert
from services.projections.read_models.statement import Statement, statement

STAGE = "dispute"
"""Of one that does not say."""


class Dispute(Newest, kw_only=True):
    """A row. Without an amount: all of the payment."""

    dispute_id: str
    payment_id: str
    status: str
    stage: str
    amount_minor: int | UnsetType
    currency: str | UnsetType


UPSERT = upsert(
    "disputes",
    "dispute_id",
    {"payment_id": "text", "status": "text", "stage": "text", "amount_minor": "bigint", "currency": "text"},
)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if found := rows(events):
        yield statement(UPSERT, found)


def rows(events: Sequence[Event]) -> list[Dispute]:
    return folded((row.dispute_id, row) for row in _told(events))


def _told(events: Sequence[Event]) -> Iterator[Dispute]:
    for event in events:
        fact = event.fact
        if isinstance(fact, DisputeRecorded):
            dispute = fact.dispute
            yield Dispute(
                dispute_id=dispute.dispute_id,
                payment_id=dispute.payment_id,
                status=dispute.dispute_status,
                stage=dispute.dispute_stage or STAGE,
                amount_minor=dispute.amount,
                currency=dispute.currency,
                known=dispute,
                **common(event, fact, dispute.created_at),
            )
