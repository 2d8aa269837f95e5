"""What is asked about upstream's objects: decided here, and carried out by upstream where it is its money or plan."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from events.ask import Ask
from events.foreign import Count, ForeignId, Word
from events.ids import stream_name
from events.money import Amount, Currency
from events.personal import NO_NUL, Foreign, LongReason, Metadata, Name, Reason, ReturnUrl
from events.times import Timestamp

REFUND_ITEMS_MAX = 100
CARTS_MAX = 100

Comment = Annotated[str, Meta(max_length=3000, pattern=NO_NUL)]
TaxId = Annotated[str, Meta(max_length=128, pattern=NO_NUL)]


class RefundItem(Struct, frozen=True, kw_only=True):
    """So much of one item of the payment's cart goes back, tax included."""

    item_id: ForeignId
    amount: Amount


RefundItems = Annotated[list[RefundItem], Meta(min_length=1, max_length=REFUND_ITEMS_MAX)]


class RequestRefund(Ask, frozen=True):
    """Back to where the payment came from, by upstream. Without an amount: all that can still be given back."""

    TYPE = "refund.request.v1"

    payment_id: ForeignId
    amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    items: RefundItems | UnsetType = UNSET
    reason: LongReason | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("payment", self.payment_id),)


class RefundToWallet(Ask, frozen=True):
    """Into the customer's wallet, by us and at once. Without an amount: all that can still be given back."""

    TYPE = "refund.to_wallet.v1"

    payment_id: ForeignId
    amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    reason: LongReason | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("payment", self.payment_id),)


class ChangeInClear(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a change to a subscription names nobody; absent = unchanged."""

    status: Word | UnsetType = UNSET
    cancel_at_next_billing_date: bool | UnsetType = UNSET
    cancel_reason: Word | UnsetType = UNSET
    cancellation_feedback: Word | UnsetType = UNSET
    next_billing_date: Timestamp | UnsetType = UNSET
    subscription_period_count: Count | UnsetType = UNSET
    subscription_period_interval: Word | UnsetType = UNSET


class SubscriptionChange(ChangeInClear, frozen=True):
    """All that may be changed, as the public API names it."""

    billing: Foreign | UnsetType = UNSET
    cancellation_comment: Comment | UnsetType = UNSET
    credit_entitlement_cart: Annotated[list[dict[str, Any]], Meta(max_length=CARTS_MAX)] | UnsetType = UNSET
    customer_business_name: Name | UnsetType = UNSET
    customer_name: Name | UnsetType = UNSET
    disable_on_demand: Foreign | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    tax_id: TaxId | UnsetType = UNSET


class RequestSubscriptionChange(Ask, frozen=True):
    """Cancelling, pausing, other data of a subscription: upstream does it, or declines."""

    TYPE = "subscription.request_change.v1"

    subscription_id: ForeignId
    change: SubscriptionChange

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("subscription", self.subscription_id),)


class RequestTopUp(Ask, frozen=True):
    """The customer wants to buy credit: upstream takes a payment of it."""

    TYPE = "wallet.request_top_up.v1"

    currency: Currency
    amount: Amount
    return_url: ReturnUrl | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class SettleInvoice(Ask, frozen=True):
    """The wallet pays what it can of `amount`; the rest is for the payment method."""

    TYPE = "wallet.settle_invoice.v1"

    invoice_id: ForeignId
    currency: Currency
    amount: Amount
    reason: Reason | UnsetType = UNSET

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("invoice", self.invoice_id),)


RequestAsk = RequestRefund | RefundToWallet | RequestSubscriptionChange | RequestTopUp | SettleInvoice
