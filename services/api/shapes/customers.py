"""Bodies of requests and responses, as the SDK `dodopayments` knows them. Unknown fields of requests are ignored."""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from events.commands import CustomerIdText
from events.facts import Cause
from events.money import AMOUNT_MAX, Amount, Currency, Minor
from events.personal import (
    Email,
    IdempotencyKey,
    MetadataInt,
    MetadataKey,
    MetadataText,
    Name,
    Phone,
    Reason,
)

METADATA_KEYS_MAX = 50

Locale = Literal[
    "ar", "ca", "zh", "nl", "en", "fr", "de", "he", "id", "it", "ja",
    "ka", "ko", "ms", "pl", "pt", "ro", "ru", "es", "sv", "th", "tr",
]  # fmt: skip
_PAIRS = Meta(description=f"at most {METADATA_KEYS_MAX} pairs")
Metadata = Annotated[dict[MetadataKey, MetadataText | int | float | bool], _PAIRS]
"""As it is shown: also what upstream told, and what was taken before numbers had bounds."""

# Beyond these every float is whole, and is shown in digits that could not be sent back.
_Float = Annotated[float, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
GivenMetadata = Annotated[dict[MetadataKey, MetadataText | MetadataInt | _Float | bool], _PAIRS]
Moment = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]
Source = Literal["blocklist_page", "customer_page", "payment_page", "dispute_page", "api"]
EventType = Literal[
    "payment",
    "payment_reversal",
    "refund",
    "refund_reversal",
    "dispute",
    "dispute_reversal",
    "merchant_adjustment",
]

EVENT_TYPES: dict[str, EventType] = {
    Cause.TOP_UP: "payment",
    Cause.TOP_UP_REVERSAL: "payment_reversal",
    Cause.PROMOTION: "merchant_adjustment",
    Cause.PURCHASE: "payment",
    Cause.INVOICE_PAYMENT: "payment",
    Cause.PAYMENT_REVERSAL: "payment_reversal",
    Cause.REFUND: "refund",
    Cause.REFUND_REVERSAL: "refund_reversal",
    Cause.DISPUTE: "dispute",
    Cause.DISPUTE_REVERSAL: "dispute_reversal",
    Cause.ADJUSTMENT: "merchant_adjustment",
}
"""The public word for each cause: the SDK's enumeration is coarser than ours."""

T = TypeVar("T")


def or_unset(value: T | None) -> T | UnsetType:
    """Null in a request is like absent."""
    return UNSET if value is None else value


class CreateCustomer(Struct, frozen=True, kw_only=True):
    """Body of `POST /customers`."""

    email: Email
    name: Name
    metadata: GivenMetadata | None = None
    phone_number: Phone | None = None
    preferred_locale: Locale | None = None


class UpdateCustomer(Struct, frozen=True, kw_only=True):
    """Body of `PATCH /customers/{customer_id}`. Absent: unchanged. Null: see docs/api.md."""

    email: Email | UnsetType | None = UNSET
    metadata: GivenMetadata | UnsetType | None = UNSET
    name: Name | UnsetType | None = UNSET
    phone_number: Phone | UnsetType | None = UNSET
    preferred_locale: Locale | UnsetType | None = UNSET


class CreateLedgerEntry(Struct, frozen=True, kw_only=True):
    """Body of `POST /customers/{customer_id}/wallets/ledger-entries`."""

    amount: Amount
    currency: Currency
    entry_type: Literal["credit", "debit"]
    idempotency_key: IdempotencyKey | None = None
    reason: Reason | None = None


class Customer(Struct, frozen=True, kw_only=True):
    """A customer of a business."""

    business_id: str
    created_at: Moment
    customer_id: str
    email: str
    name: str
    blocked_at: Moment | None = None
    blocklist_entry_id: str | None = None
    metadata: Metadata
    phone_number: str | None
    preferred_locale: str | None


class ChangeStatus(Struct, frozen=True, kw_only=True):
    """Body of block, unblock and close; may be left out."""

    reason: Reason | None = None


class CustomerStatus(Struct, frozen=True, kw_only=True):
    """What a customer is after a change of status. Of a closed one only `closed_at`, of an erased one only
    `erased_at` is told."""

    customer_id: str
    status: Literal["active", "blocked", "closed"]
    blocked_at: Moment | None = None
    blocklist_entry_id: str | None = None
    closed_at: Moment | None = None
    erased_at: Moment | None = None


class BlockCustomer(Struct, frozen=True, kw_only=True):
    """Body of `POST /blocklist/customers`: exactly one of `customer_id` and `email`. `source` is ignored."""

    customer_id: CustomerIdText | None = None
    email: Annotated[Email, Meta(min_length=1)] | None = None
    reason: Reason | None = None
    source: Source | None = None


class BlockedCustomer(Struct, frozen=True, kw_only=True):
    """An entry of the blocklist. A block cancels no subscription, and there are no notes."""

    id: str
    created_at: Moment
    customer_email: str
    customer_id: str
    customer_name: str
    identifier: str
    source: Source = "api"
    blocked_by_email: str | None = None
    cancelled_subscription_ids: list[str] | None = None
    notes: list[str] | None = None
    reason: str | None = None
    remaining_subscription_ids: list[str] | None = None
    subscriptions_swept: bool | None = None
    unblocked_at: Moment | None = None


class BlocklistPage(Struct, frozen=True, kw_only=True):
    """One page of who is blocked now, newest first."""

    items: list[BlockedCustomer]


class CustomerPage(Struct, frozen=True, kw_only=True):
    """One page of customers, newest first."""

    items: list[Customer]


class CustomerWallet(Struct, frozen=True, kw_only=True):
    """The balance of one customer in one currency."""

    balance: Minor
    created_at: Moment
    currency: Currency
    customer_id: str
    updated_at: Moment


class WalletList(Struct, frozen=True, kw_only=True):
    """Every open currency, at 0 where nothing happened."""

    items: list[CustomerWallet]
    total_balance_usd: Annotated[
        int, Meta(description="US cents, at the rates of the Ledger-Usd-Rates header")
    ]


class CustomerWalletTransaction(Struct, frozen=True, kw_only=True):
    """A movement of money. `amount` is positive; `is_credit` says the direction."""

    id: str
    after_balance: int
    amount: int
    before_balance: int
    business_id: str
    created_at: Moment
    currency: Currency
    customer_id: str
    event_type: EventType
    is_credit: bool
    reason: str | None
    reference_object_id: str | None


class LedgerEntryPage(Struct, frozen=True, kw_only=True):
    """One page of a customer's ledger, newest first."""

    items: list[CustomerWalletTransaction]


class Error(Struct, frozen=True, kw_only=True):
    """Every answer that is not a success."""

    code: str
    message: str
