"""Subscriptions, as the SDK `dodopayments` knows them; see `foreign`."""

from typing import Any

from msgspec import Struct

from services.api.shapes.customers import Moment
from services.api.shapes.foreign import (
    NO_CURRENCY,
    BillingAddress,
    CustomerLimitedDetails,
    CustomFieldResponse,
    Minor,
    Objects,
    Pairs,
)

INTERVAL = "Month"


class ListedDiscount(Struct, frozen=True, kw_only=True):
    """A discount in a list of subscriptions."""

    discount_id: str
    discount_cycles_remaining: int | None = None


class SubscriptionBase(Struct, frozen=True, kw_only=True):
    """What a subscription says in a list and alone."""

    subscription_id: str
    status: str
    customer: CustomerLimitedDetails
    created_at: Moment
    next_billing_date: Moment
    previous_billing_date: Moment
    billing: BillingAddress = BillingAddress()
    cancel_at_next_billing_date: bool = False
    currency: str = NO_CURRENCY
    has_payment_method: bool = False
    metadata: Pairs = {}
    on_demand: bool = False
    payment_frequency_count: int = 1
    payment_frequency_interval: str = INTERVAL
    product_id: str = ""
    quantity: int = 1
    recurring_pre_tax_amount: Minor = 0
    subscription_period_count: int = 1
    subscription_period_interval: str = INTERVAL
    tax_inclusive: bool = False
    trial_period_days: int = 0
    cancelled_at: Moment | None = None
    cancelled_by: str | None = None
    customer_business_name: str | None = None
    discount_cycles_remaining: int | None = None
    discount_id: str | None = None
    paused_at: Moment | None = None
    payment_method_id: str | None = None
    scheduled_change: dict[str, Any] | None = None
    tax_id: str | None = None
    trial_amount: Minor | None = None


class SubscriptionListItem(SubscriptionBase, frozen=True, kw_only=True):
    """A subscription in a list."""

    discounts: list[ListedDiscount] = []
    product_name: str | None = None


class Subscription(SubscriptionBase, frozen=True, kw_only=True):
    """What a customer pays for again and again."""

    brand_id: str
    addons: Objects = []
    credit_entitlement_cart: Objects = []
    meter_credit_entitlement_cart: Objects = []
    meters: Objects = []
    cancellation_comment: str | None = None
    cancellation_feedback: str | None = None
    custom_field_responses: list[CustomFieldResponse] | None = None
    discounts: Objects | None = None
    expires_at: Moment | None = None


class SubscriptionPage(Struct, frozen=True, kw_only=True):
    """One page of subscriptions, newest first."""

    items: list[SubscriptionListItem]
