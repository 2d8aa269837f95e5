"""What is known of a payment?"""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType

from events.recorded import PaymentRecorded
from services.projections.read_models.event import Event
from services.projections.read_models.newest import Newest, common, folded, upsert
from services.projections.read_models.statement import Statement, statement


class Payment(Newest, kw_only=True):
    """A row. Its refunds and disputes are rows of their own."""

    payment_id: str
    status: str
    currency: str
    total_amount_minor: int
    subscription_id: str | UnsetType
    brand_id: str
    product_ids: list[str]


UPSERT = upsert(
    "payments",
    "payment_id",
    {
        "status": "text",
        "currency": "text",
        "total_amount_minor": "bigint",
        "subscription_id": "text",
        "brand_id": "text",
        "product_ids": "text[]",
    },
)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if found := rows(events):
        yield statement(UPSERT, found)


def rows(events: Sequence[Event]) -> list[Payment]:
    return folded((row.payment_id, row) for row in _told(events))


def _told(events: Sequence[Event]) -> Iterator[Payment]:
    for event in events:
        fact = event.fact
        if isinstance(fact, PaymentRecorded):
            payment = fact.payment
            cart = [] if payment.product_cart is UNSET else payment.product_cart
            yield Payment(
                payment_id=payment.payment_id,
                status=payment.status,
                currency=payment.currency,
                total_amount_minor=payment.total_amount,
                subscription_id=payment.subscription_id,
                brand_id=payment.brand_id or event.envelope.businessid,
                product_ids=[item.product_id for item in cart],
                known=payment,
                **common(event, fact, payment.created_at),
            )
