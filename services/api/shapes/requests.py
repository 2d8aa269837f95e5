"""Bodies of what is asked about upstream's objects, and of settlements. Null is like absent, as the SDK sends it."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from events.commands import CustomerIdText
from events.foreign import Count, ForeignId
from events.money import AMOUNT_MAX, Amount, Currency, Minor
from events.personal import LongReason, Name, Reason, ReturnUrl
from events.requests import CARTS_MAX, REFUND_ITEMS_MAX, Comment, TaxId
from services.api.shapes.customers import GivenMetadata, Moment
from services.api.shapes.lookups import Cursor

Interval = Literal["Day", "Week", "Month", "Year"]


class RefundItem(Struct, frozen=True, kw_only=True):
    """A line of what was bought: a product of the cart, or the payment where the cart has several."""

    item_id: ForeignId
    amount: (
        Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="with its tax; left out: all of it")] | None
    ) = None
    tax_inclusive: bool = True


class CreateRefund(Struct, frozen=True, kw_only=True):
    """Body of `POST /refunds`. Without items: all that can still be given back."""

    payment_id: ForeignId
    currency: Currency | None = None
    items: Annotated[list[RefundItem], Meta(max_length=REFUND_ITEMS_MAX)] | None = None
    metadata: GivenMetadata | None = None
    reason: LongReason | None = None


class CreateRefundToWallet(Struct, frozen=True, kw_only=True):
    """Body of `POST /v1/refunds/to-wallet`. Without an amount: all that can still be given back."""

    payment_id: ForeignId
    amount: Amount | None = None
    currency: Currency | None = None
    metadata: GivenMetadata | None = None
    reason: LongReason | None = None


class UpdateSubscription(Struct, frozen=True, kw_only=True):
    """Body of `PATCH /subscriptions/{subscription_id}`. `paused` and `active` are sent alone; `pause` is refused."""

    billing: dict[str, Any] | None = None
    cancel_at_next_billing_date: bool | None = None
    cancel_reason: (
        Literal[
            "cancelled_by_customer",
            "cancelled_by_merchant",
            "cancelled_by_merchant_send_dunning",
            "cancelled_by_merchant_grace_period_expired",
            "dodo_team",
        ]
        | None
    ) = None
    cancellation_comment: Comment | None = None
    cancellation_feedback: (
        Literal[
            "too_expensive",
            "missing_features",
            "switched_service",
            "unused",
            "customer_service",
            "low_quality",
            "too_complex",
            "other",
        ]
        | None
    ) = None
    credit_entitlement_cart: Annotated[list[dict[str, Any]], Meta(max_length=CARTS_MAX)] | None = None
    customer_business_name: Name | None = None
    customer_name: Name | None = None
    disable_on_demand: dict[str, Any] | None = None
    metadata: GivenMetadata | None = None
    next_billing_date: Moment | None = None
    pause: bool | None = None
    status: (
        Literal["pending", "active", "on_hold", "paused", "cancelled", "failed", "expired", "past_due"] | None
    ) = None
    subscription_period_count: Count | None = None
    subscription_period_interval: Interval | None = None
    tax_id: TaxId | None = None


class CreateSettlement(Struct, frozen=True, kw_only=True):
    """Body of `POST /v1/customers/{customer_id}/wallets/settlements`: an invoice, wallet first."""

    invoice_id: ForeignId
    currency: Currency
    amount: Amount
    reason: Reason | None = None


class Settlement(Struct, frozen=True, kw_only=True):
    """What the wallet paid of an invoice: `applied`, perhaps nothing; `remaining` is for the payment method."""

    settlement_id: str
    invoice_id: str
    customer_id: CustomerIdText
    currency: Currency
    amount: Minor
    applied: Minor
    remaining: Minor
    balance: Minor
    entry_id: str | None
    created_at: Moment


class CreateTopUp(Struct, frozen=True, kw_only=True):
    """Body of `POST /v1/customers/{customer_id}/wallets/top-ups`."""

    currency: Currency
    amount: Amount
    return_url: ReturnUrl | None = None
    metadata: GivenMetadata | None = None


class TopUp(Struct, frozen=True, kw_only=True):
    """A request for credit; the wallet has it when upstream has taken a payment of it."""

    request_id: str
    customer_id: CustomerIdText
    status: Literal["pending"] = "pending"
    currency: Currency
    amount: Minor
    created_at: Moment


class CustomerRequest(Struct, frozen=True, kw_only=True):
    """What was asked of upstream. `object_id`: the payment or subscription; of a top-up the payment that answered it."""

    request_id: str
    kind: Literal["refund", "subscription_change", "top_up"]
    status: Literal["pending", "settled", "failed", "declined"]
    object_id: str | None
    currency: Currency | None
    amount: Minor | None
    created_at: Moment
    updated_at: Moment


class CustomerRequestList(Struct, frozen=True, kw_only=True):
    """One page, newest first."""

    items: list[CustomerRequest]
    next_cursor: Cursor
