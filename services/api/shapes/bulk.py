"""Bodies of `POST /v1/ledger-entries/bulk`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from events.commands import BULK_ENTRIES_MAX, CustomerIdText
from events.facts import Reference
from events.money import Amount, Currency
from events.personal import IdempotencyKey, Reason
from services.api.shapes.customers import Moment


class BulkItem(Struct, frozen=True, kw_only=True):
    """One credit or debit. Its key counts within its customer, as if it were asked for alone."""

    customer_id: CustomerIdText
    amount: Amount
    currency: Currency
    entry_type: Literal["credit", "debit"]
    idempotency_key: IdempotencyKey
    reason: Reason | None = None
    reference: Reference | None = None


class CreateLedgerEntries(Struct, frozen=True, kw_only=True):
    """`all_or_nothing`: per customer; where one of his items fails, none of them is applied."""

    items: Annotated[list[BulkItem], Meta(min_length=1, max_length=BULK_ENTRIES_MAX)]
    all_or_nothing: bool = False


class BulkOutcome(Struct, frozen=True, kw_only=True):
    """What became of one item. `status` and `code` are those that it would have got alone."""

    status: Annotated[int, Meta(description="200 applied; 503 certainly not applied; 500 and 504 not known")]
    code: str | None = None
    message: str | None = None
    replayed: Annotated[bool, Meta(description="this key had its outcome before")] = False
    entry_id: str | None = None
    balance: Annotated[int | None, Meta(description="after the entry, in minor units")] = None
    created_at: Moment | None = None
    ledger_position: str | None = None


class BulkOutcomes(Struct, frozen=True, kw_only=True):
    """One outcome per item, in their order, and how many there are of each kind."""

    items: list[BulkOutcome]
    applied: int
    refused: Annotated[int, Meta(description="decided or invalid: repeating changes nothing")]
    not_applied: Annotated[int, Meta(description="certainly not: repeat")]
    unknown: Annotated[int, Meta(description="repeat with the same keys")]
