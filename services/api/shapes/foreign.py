"""What upstream tells of, as the SDK `dodopayments` knows it. Defaults stand for what upstream sent as null or not at all.

Enumerations are text: a word that upstream has newly learned is passed on, not hidden.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from services.api.shapes.customers import Moment

Objects = list[dict[str, Any]]
Pairs = dict[str, str | int | float | bool]
Minor = Annotated[int, Meta(description="minor units")]

NO_COUNTRY = "AQ"
"""An address needs a country. Nobody bills Antarctica: it cannot be taken for one that was told."""

PROVIDER = "dodo"
NO_CURRENCY = "USD"


class CustomerLimitedDetails(Struct, frozen=True, kw_only=True):
    """Who it concerns, as he is known here now."""

    customer_id: str
    email: str
    name: str
    metadata: Pairs
    phone_number: str | None


class BillingAddress(Struct, frozen=True, kw_only=True):
    """Where upstream bills."""

    country: str = NO_COUNTRY
    city: str | None = None
    state: str | None = None
    street: str | None = None
    zipcode: str | None = None


class ProductCart(Struct, frozen=True, kw_only=True):
    """A line of what was bought."""

    product_id: str
    quantity: int


class CustomFieldResponse(Struct, frozen=True, kw_only=True):
    """What the customer filled in."""

    key: str
    value: str


class SubscriptionServicePeriod(Struct, frozen=True, kw_only=True):
    """What a payment pays for."""

    subscription_id: str
    starts_at: Moment
    ends_at: Moment
    proration_factor: str


class PaymentBase(Struct, frozen=True, kw_only=True):
    """What a payment says in a list and alone."""

    payment_id: str
    customer: CustomerLimitedDetails
    created_at: Moment
    currency: str
    total_amount: Minor
    brand_id: str
    digital_products_delivered: bool = False
    includes_usage: bool = False
    is_multi_subscription: bool = False
    metadata: Pairs = {}
    payment_provider: str = PROVIDER
    retry_attempt: int = 0
    service_periods: list[SubscriptionServicePeriod] = []
    subscription_ids: list[str] = []
    card_exp_month: str | None = None
    card_exp_year: str | None = None
    card_last_four: str | None = None
    card_network: str | None = None
    card_type: str | None = None
    charge_type: str | None = None
    checkout_session_id: str | None = None
    invoice_id: str | None = None
    invoice_url: str | None = None
    payment_method: str | None = None
    payment_method_type: str | None = None
    refund_status: str | None = None
    status: str | None = None
    subscription_id: str | None = None
    three_ds_flow: str | None = None
    three_ds_status: str | None = None
    three_ds_version: str | None = None


class PaymentListItem(PaymentBase, frozen=True, kw_only=True):
    """A payment in a list."""

    has_license_key: bool = False
    dispute_status: str | None = None


class RefundListItem(Struct, frozen=True, kw_only=True):
    """A refund in a list, or of a payment."""

    refund_id: str
    payment_id: str
    business_id: str
    created_at: Moment
    is_partial: bool
    status: str
    amount: Minor | None = None
    currency: str | None = None
    network_reference: str | None = None
    network_reference_type: str | None = None
    network_reference_updated_at: Moment | None = None
    reason: str | None = None


class Refund(RefundListItem, frozen=True, kw_only=True):
    """What was given back, or is to be."""

    brand_id: str
    customer: CustomerLimitedDetails
    metadata: Pairs = {}


class Dispute(Struct, frozen=True, kw_only=True):
    """A dispute of a payment."""

    dispute_id: str
    payment_id: str
    business_id: str
    created_at: Moment
    amount: Annotated[str, Meta(description="minor units, as text")]
    currency: str
    dispute_stage: str
    dispute_status: str
    is_resolved_by_rdr: bool | None = None
    remarks: str | None = None


class DisputeListItem(Dispute, frozen=True, kw_only=True):
    """A dispute in a list."""

    payment_provider: str = PROVIDER


class GetDispute(DisputeListItem, frozen=True, kw_only=True):
    """What a cardholder's bank asks back."""

    brand_id: str
    customer: CustomerLimitedDetails
    reason: str | None = None


class Payment(PaymentBase, frozen=True, kw_only=True):
    """A payment with what became of it."""

    business_id: str
    settlement_amount: Minor
    settlement_currency: str
    refunds: list[RefundListItem]
    disputes: list[Dispute]
    billing: BillingAddress = BillingAddress()
    is_update_payment_method: bool = False
    card_holder_name: str | None = None
    card_issuing_country: str | None = None
    custom_field_responses: list[CustomFieldResponse] | None = None
    discount_id: str | None = None
    discounts: Objects | None = None
    error_code: str | None = None
    error_message: str | None = None
    payment_link: str | None = None
    payment_method_id: str | None = None
    product_cart: list[ProductCart] | None = None
    settlement_tax: Minor | None = None
    tax: Minor | None = None
    updated_at: Moment | None = None


class LineItem(Struct, frozen=True, kw_only=True):
    """`amount` is with its tax. `items_id`: the product, where the cart has one line; else the payment."""

    items_id: str
    amount: Minor
    refundable_amount: Minor
    tax: Minor
    description: str | None = None
    name: str | None = None


class LineItems(Struct, frozen=True, kw_only=True):
    """Of a payment, in one currency."""

    currency: str
    items: list[LineItem]
    partial_refund_allowed: bool = True


class PaymentPage(Struct, frozen=True, kw_only=True):
    """One page of payments, newest first."""

    items: list[PaymentListItem]


class RefundPage(Struct, frozen=True, kw_only=True):
    """One page of refunds, newest first."""

    items: list[RefundListItem]


class DisputePage(Struct, frozen=True, kw_only=True):
    """One page of disputes, newest first."""

    items: list[DisputeListItem]
