"""What has a customer subscribed to, and how does it go on?"""

from collections.abc import Iterator, Sequence

from msgspec import UnsetType

from events.recorded import SubscriptionRecorded
from services.projections.read_models.event import Event
from services.projections.read_models.newest import Newest, common, folded, moment, upsert
from services.projections.read_models.statement import Statement, statement


class Subscription(Newest, kw_only=True):
    """A row."""

    subscription_id: str
    status: str
    product_id: str | UnsetType
    brand_id: str
    currency: str | UnsetType
    recurring_pre_tax_amount_minor: int | UnsetType
    cancel_at_next_billing_date: bool
    next_billing_at: str | UnsetType


UPSERT = upsert(
    "subscriptions",
    "subscription_id",
    {
        "status": "text",
        "product_id": "text",
        "brand_id": "text",
        "currency": "text",
        "recurring_pre_tax_amount_minor": "bigint",
        "cancel_at_next_billing_date": "boolean",
        "next_billing_at": "timestamptz",
    },
)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if found := rows(events):
        yield statement(UPSERT, found)


def rows(events: Sequence[Event]) -> list[Subscription]:
    return folded((row.subscription_id, row) for row in _told(events))


def _told(events: Sequence[Event]) -> Iterator[Subscription]:
    for event in events:
        fact = event.fact
        if isinstance(fact, SubscriptionRecorded):
            subscription = fact.subscription
            yield Subscription(
                subscription_id=subscription.subscription_id,
                status=subscription.status,
                product_id=subscription.product_id,
                brand_id=subscription.brand_id or event.envelope.businessid,
                currency=subscription.currency,
                recurring_pre_tax_amount_minor=subscription.recurring_pre_tax_amount,
                cancel_at_next_billing_date=bool(subscription.cancel_at_next_billing_date),
                next_billing_at=moment(subscription.next_billing_date),
                known=subscription,
                **common(event, fact, subscription.created_at),
            )
