"""What was given back of a payment, or is to be?"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UnsetType

from events import foreign
from events.recorded import RefundRecorded
from events.requested import RefundMadeToWallet, RefundRequested
from services.projections.read_models.event import Event
from services.projections.read_models.newest import Newest, asked, common, folded, upsert
from services.projections.read_models.statement import Statement, statement

REQUESTED = "pending"
"""Of a refund that upstream has not answered yet."""


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
    """What upstream said, what it was asked for, and what was done by ourselves."""
    for event in events:
        match event.fact:
            case RefundRecorded() as fact:
                yield _row(fact.refund, common(event, fact, fact.refund.created_at))
            case RefundMadeToWallet(refund=refund):
                yield _row(refund, asked(event))
            case (
                RefundRequested(request_id=name, payment_id=payment, amount=amount, currency=currency) as fact
            ):
                refund = foreign.Refund(
                    refund_id=name,
                    payment_id=payment,
                    status=REQUESTED,
                    amount=amount,
                    currency=currency,
                    is_partial=fact.is_partial,
                )
                yield _row(refund, asked(event))
            case _:
                pass


def _row(refund: foreign.Refund, common: dict[str, Any]) -> Refund:
    return Refund(
        refund_id=refund.refund_id,
        payment_id=refund.payment_id,
        status=refund.status,
        amount_minor=refund.amount,
        currency=refund.currency,
        known=refund,
        **common,
    )
