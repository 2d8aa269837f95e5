"""What happened. Stored for ever: fields are only added, with defaults; a new meaning is a new TYPE."""

from enum import StrEnum
from typing import Annotated, get_args

from msgspec import UNSET, Meta, UnsetType

from events.fact import Fact
from events.foreign import AsTold
from events.ids import BlockId, EntryId
from events.money import Amount, Balance, Currency
from events.recorded import (
    DisputeRecorded,
    LicenceKeyRecorded,
    PaymentRecorded,
    RefundRecorded,
    SubscriptionRecorded,
    UpstreamRecorded,
)
from events.requested import (
    InvoiceFact,
    RefundMadeToWallet,
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
)
from events.times import Timestamp

Reference = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+\Z")]
Locale = Annotated[str, Meta(min_length=2, max_length=16, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*\Z")]
CommandId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+\Z")]
FailedId = Annotated[
    CommandId,
    Meta(
        description="of entries asked for all or none: the command that failed; on its own refusal the balance is "
        "what the entries before it would have left"
    ),
]


class Cause(StrEnum):
    """Why money moved: finer than the public API's `event_type`, which is derived from it."""

    TOP_UP = "top_up"
    TOP_UP_REVERSAL = "top_up_reversal"
    PROMOTION = "promotion"
    PURCHASE = "purchase"
    INVOICE_PAYMENT = "invoice_payment"
    PAYMENT_REVERSAL = "payment_reversal"
    REFUND = "refund"
    REFUND_REVERSAL = "refund_reversal"
    DISPUTE = "dispute"
    DISPUTE_REVERSAL = "dispute_reversal"
    ADJUSTMENT = "adjustment"


COUNTER_ACCOUNTS = {
    Cause.TOP_UP: "gateway:upstream",
    Cause.TOP_UP_REVERSAL: "gateway:upstream",
    Cause.PROMOTION: "promotions",
    Cause.PURCHASE: "merchant:sales",
    Cause.INVOICE_PAYMENT: "merchant:sales",
    Cause.PAYMENT_REVERSAL: "merchant:sales",
    Cause.REFUND: "merchant:refunds",
    Cause.REFUND_REVERSAL: "merchant:refunds",
    Cause.DISPUTE: "gateway:disputes",
    Cause.DISPUTE_REVERSAL: "gateway:disputes",
    Cause.ADJUSTMENT: "merchant:adjustments",
}
"""The other side of each entry: double entry as a pure function of the cause."""


class Refusal(StrEnum):
    """The closed list of business refusals; each is a fact with a receipt."""

    NOT_FOUND = "NOT_FOUND"
    CUSTOMER_EXISTS = "CUSTOMER_EXISTS"
    UNSUPPORTED_CURRENCY = "UNSUPPORTED_CURRENCY"
    INSUFFICIENT_WALLET_FUNDS = "INSUFFICIENT_WALLET_FUNDS"
    BALANCE_LIMIT_EXCEEDED = "BALANCE_LIMIT_EXCEEDED"
    CUSTOMER_BLOCKED = "CUSTOMER_BLOCKED"
    CUSTOMER_CLOSED = "CUSTOMER_CLOSED"
    WALLET_NOT_EMPTY = "WALLET_NOT_EMPTY"
    CUSTOMER_NOT_CLOSED = "CUSTOMER_NOT_CLOSED"
    CUSTOMER_ERASED = "CUSTOMER_ERASED"
    ANOTHER_ENTRY_FAILED = "ANOTHER_ENTRY_FAILED"
    PAYMENT_NOT_SUCCEEDED = "PAYMENT_NOT_SUCCEEDED"
    PAYMENT_ALREADY_REFUNDED = "PAYMENT_ALREADY_REFUNDED"
    ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED = "ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED"
    REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT = "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"
    EXISTING_REFUND_REQUEST_PROCESSING = "EXISTING_REFUND_REQUEST_PROCESSING"
    PARTIAL_REFUND_NOT_ALLOWED = "PARTIAL_REFUND_NOT_ALLOWED"
    REFUND_TO_WALLET_NOT_ALLOWED = "REFUND_TO_WALLET_NOT_ALLOWED"
    SUBSCRIPTION_INACTIVE = "SUBSCRIPTION_INACTIVE"
    SUBSCRIPTION_EXPIRED = "SUBSCRIPTION_EXPIRED"
    EXISTING_SUBSCRIPTION_CHANGE_PROCESSING = "EXISTING_SUBSCRIPTION_CHANGE_PROCESSING"


class CustomerRegistered(Fact, frozen=True):
    """Sealed: name, email, phone_number, metadata. `as_told`: by upstream, and not by a call of ours."""

    TYPE = "customer.registered.v1"

    preferred_locale: Locale | UnsetType = UNSET
    as_told: AsTold | UnsetType = UNSET


class CustomerProfileChanged(Fact, frozen=True):
    """Sealed: what changed of name, email, phone_number, metadata. `preferred_locale` null clears it."""

    TYPE = "customer.profile_changed.v1"

    preferred_locale: Locale | UnsetType | None = UNSET
    as_told: AsTold | UnsetType = UNSET


class CustomerBlocked(Fact, frozen=True):
    """No debits until unblocked. `since`: he was blocked already, from then on. Sealed: reason, identifier."""

    TYPE = "customer.blocked.v1"

    block_id: BlockId
    since: Timestamp | UnsetType = UNSET


class CustomerUnblocked(Fact, frozen=True):
    """`block_id` is the block that this ended; absent: there was none to end. Sealed: reason."""

    TYPE = "customer.unblocked.v1"

    block_id: BlockId | UnsetType = UNSET


class CustomerClosed(Fact, frozen=True):
    """All wallets are empty, and nothing is done for this customer any more. Sealed: reason."""

    TYPE = "customer.closed.v1"


class CustomerErased(Fact, frozen=True):
    """The customer's data key was destroyed before this was recorded; what was sealed under it is gone. Seals nothing."""

    TYPE = "customer.erased.v1"


class CustomerCommandRefused(Fact, frozen=True):
    """Any refusal but that of a debit: auditors ask who tried what. `reference`: what the command was about."""

    TYPE = "customer.command_refused.v1"

    command: str
    refusal: Refusal
    currency: Currency | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    because_of: FailedId | UnsetType = UNSET
    reference: Reference | UnsetType = UNSET


class Movement(Fact, frozen=True):
    """What both sides of a money movement say. Sealed: reason."""

    entry_id: EntryId
    currency: Currency
    amount: Amount
    balance_before: Balance
    balance_after: Balance
    cause: Cause
    counter_account: str
    reference: Reference | UnsetType = UNSET


class WalletCredited(Movement, frozen=True):
    """The wallet received `amount` from the counter account."""

    TYPE = "wallet.credited.v1"


class WalletDebited(Movement, frozen=True):
    """The wallet gave `amount` to the counter account."""

    TYPE = "wallet.debited.v1"


class WalletDebitRefused(Fact, frozen=True):
    """A fact, not an exception: whoever asked is on the other side of a queue."""

    TYPE = "wallet.debit_refused.v1"

    refusal: Refusal
    currency: Currency
    amount: Amount
    balance: Balance
    cause: Cause
    reference: Reference | UnsetType = UNSET
    because_of: FailedId | UnsetType = UNSET


class Shortfall(Fact, frozen=True):
    """`short` is what upstream's `reference` lacks in all after this."""

    currency: Currency
    amount: Amount
    short: Balance
    cause: Cause
    reference: Reference


class WalletShortfallRecorded(Shortfall, frozen=True):
    """`amount` was to be taken and was not there: a wallet is never below zero."""

    TYPE = "wallet.shortfall_recorded.v1"


class WalletShortfallReleased(Shortfall, frozen=True):
    """`amount` of a shortfall is not wanted any more."""

    TYPE = "wallet.shortfall_released.v1"


CustomerFact = (
    CustomerRegistered
    | CustomerProfileChanged
    | CustomerBlocked
    | CustomerUnblocked
    | CustomerClosed
    | CustomerErased
    | CustomerCommandRefused
    | WalletCredited
    | WalletDebited
    | WalletDebitRefused
    | WalletShortfallRecorded
    | WalletShortfallReleased
    | UpstreamRecorded
    | TopUpRequested
)
ForeignFact = (
    PaymentRecorded
    | RefundRecorded
    | DisputeRecorded
    | SubscriptionRecorded
    | LicenceKeyRecorded
    | RefundRequested
    | RefundMadeToWallet
    | SubscriptionChangeRequested
)
AnyFact = CustomerFact | ForeignFact | InvoiceFact

FACTS: dict[str, type[AnyFact]] = {fact.TYPE: fact for fact in get_args(AnyFact)}
