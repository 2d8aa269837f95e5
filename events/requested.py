"""What was asked about upstream's objects and is decided: requests that upstream answers, and what we do ourselves."""

from msgspec import UNSET, UnsetType

from events.fact import Fact
from events.foreign import Effect, ForeignId, Refund
from events.ids import ChangeId, EntryId, RefundId, SettlementId, TopUpId
from events.money import Amount, Balance, Currency
from events.requests import ChangeInClear, RefundItem


class RefundRequested(Fact, frozen=True):
    """Upstream is to give `amount` back; the refund has this id from now on. Sealed: reason, metadata."""

    TYPE = "refund.requested.v1"
    CATEGORY = "payment"

    request_id: RefundId
    payment_id: ForeignId
    currency: Currency
    amount: Amount
    is_partial: bool
    items: tuple[RefundItem, ...] = ()


class RefundMadeToWallet(Fact, frozen=True):
    """A refund of our own, done with this: a credit of the wallet. Sealed: reason, metadata."""

    TYPE = "refund.made_to_wallet.v1"
    CATEGORY = "payment"

    refund: Refund
    effects: tuple[Effect, ...] = ()


class SubscriptionChangeRequested(Fact, frozen=True):
    """Upstream is to change the subscription. Sealed: what of the change names people, as `change`."""

    TYPE = "subscription.change_requested.v1"
    CATEGORY = "subscription"

    request_id: ChangeId
    subscription_id: ForeignId
    change: ChangeInClear


class TopUpRequested(Fact, frozen=True):
    """Upstream is to take a payment that names this request; nothing is credited before. Sealed: return_url, metadata."""

    TYPE = "wallet.top_up_requested.v1"

    request_id: TopUpId
    currency: Currency
    amount: Amount


class InvoiceSettled(Fact, frozen=True):
    """The wallet paid `applied` of `amount`, perhaps nothing; the rest is for the payment method. Sealed: reason."""

    TYPE = "invoice.settled.v1"
    CATEGORY = "invoice"

    settlement_id: SettlementId
    invoice_id: ForeignId
    currency: Currency
    amount: Amount
    applied: Balance
    balance_before: Balance
    entry_id: EntryId | UnsetType = UNSET


class InvoiceSettlementReturned(Fact, frozen=True):
    """What the wallet had paid until now is this payment's part, which failed: given back for as long as it has."""

    TYPE = "invoice.settlement_returned.v1"
    CATEGORY = "invoice"

    invoice_id: ForeignId
    payment_id: ForeignId
    currency: Currency
    amount: Amount


InvoiceFact = InvoiceSettled | InvoiceSettlementReturned
