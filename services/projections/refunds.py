"""What was given back of a payment, or is to be?"""

from collections.abc import Iterator, Sequence

from msgspec import UnsetType

from events.recorded import RefundRecorded
from services.projections.event import Event
from services.projections.newest import Newest, common, folded, upsert
from services.projections.statement import Statement, statement


class Refund(Newest, kw_only=True):
    """A row. Without an amount: all of the payment."""

    refund_id: str
    payment_id: str
    status: str
    amount_minor: int | UnsetType
    currency: str | UnsetType


UPSERT = upsert(
    "refunds",
    "refund_id",
    {"payment_id": "text", "status": "text", "amount_minor": "bigint", "currency": "text"},
)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if found := rows(events):
        yield statement(UPSERT, found)


def rows(events: Sequence[Event]) -> list[Refund]:
    return folded((row.refund_id, row) for row in _told(events))


def _told(events: Sequence[Event]) -> Iterator[Refund]:
    for event in events:
        fact = event.fact
        if isinstance(fact, RefundRecorded):
            refund = fact.refund
            yield Refund(
                refund_id=refund.refund_id,
                payment_id=refund.payment_id,
                status=refund.status,
                amount_minor=refund.amount,
                currency=refund.currency,
                known=refund,
                **common(event, fact, refund.created_at),
            )
