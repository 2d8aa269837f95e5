"""Bodies of answers under `/v1`: ours, not the SDK's."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from events.facts import Cause
from events.money import AMOUNT_MAX, Currency, Minor
from services.api.lookups import COUNTED_MAX
from services.api.shapes.customers import Metadata, Moment

Status = Literal["active", "blocked", "closed"]
PaymentStatus = Literal["Successful", "Failed", "Pending", "Refunded", "Partly refunded", "Disputed"]
PricingType = Literal["one_time", "subscription"]
Cursor = Annotated[
    str | None, Meta(description="send it as `cursor` for the next page; null: this was the last one")
]


class CustomerDetail(Struct, frozen=True, kw_only=True):
    """A customer with his balances: currencies in which nothing happened are at 0 and left out."""

    customer_id: str
    name: str
    email: str
    phone_number: str | None
    metadata: Metadata
    preferred_locale: str | None
    status: Status
    created_at: Moment
    updated_at: Moment
    erased_at: Moment | None
    balances: dict[Currency, Minor]


class Total(Struct, frozen=True, kw_only=True):
    """How many there are on all pages."""

    count: Annotated[int, Meta(ge=0)]
    exact: Annotated[
        bool, Meta(description=f"false: there are more than the {COUNTED_MAX} that were counted")
    ]


class CustomerList(Struct, frozen=True, kw_only=True):
    """A page may be short; `next_cursor` says whether it was the last one."""

    items: list[CustomerDetail]
    next_cursor: Cursor
    total: Total | UnsetType | None = UNSET


class LedgerEntry(Struct, frozen=True, kw_only=True):
    """A movement of money, with the balance of its wallet before and after."""

    entry_id: str
    customer_id: str
    currency: Currency
    direction: Literal["credit", "debit"]
    amount: Minor
    balance_before: Minor
    balance_after: Minor
    cause: Cause
    counter_account: str
    reference: str | None
    reason: str | None
    created_at: Moment
    position: Annotated[str, Meta(description="<shard>:<sequence> of its event")]


class LedgerEntryList(Struct, frozen=True, kw_only=True):
    """A page may be short; `next_cursor` says whether it was the last one."""

    items: list[LedgerEntry]
    next_cursor: Cursor
    total: Total | UnsetType | None = UNSET


class CustomerTransaction(Struct, frozen=True, kw_only=True):
    """A payment of a customer, in words for people."""

    payment_id: str
    status: PaymentStatus
    amount: Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="minor units, with tax")]
    refunded_amount: Annotated[
        int, Meta(ge=0, le=AMOUNT_MAX, description="minor units, of what has succeeded")
    ]
    currency: Currency
    created_at: Moment
    pricing_type: PricingType
    payment_method: Annotated[str | None, Meta(description="Card, UPI, …; null where upstream does not say")]


class CustomerTransactionList(Struct, frozen=True, kw_only=True):
    """Newest first."""

    items: list[CustomerTransaction]
    next_cursor: Cursor
