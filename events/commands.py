"""What may be asked of the ledger, and the envelope it travels in on `ledger.commands`.

Commands carry personal data in clear and live for days; whoever may produce them moves money.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from events.ask import Ask
from events.facts import Cause, CommandId, Locale, Reference
from events.ids import BlockId, CustomerId, Tenant
from events.money import Amount, Currency
from events.personal import Email, IdempotencyKey, Metadata, Name, Phone, Reason
from events.requests import RequestAsk
from events.times import Timestamp
from events.upstream import ForeignAsk, RecordUpstream

GRACE_SECONDS = 1.0
"""A worker that read a command just before its deadline still commits and answers: for so long the api waits behind it,
and says 504 not before. The ledger knows by it what a caller was told."""

Identifier = CommandId
CustomerIdText = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
ReplyTo = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,4}/[0-9a-f]{16,64}\Z", description="partition of ledger.replies / correlation"),
]


class Origin(StrEnum):
    """Who may have made an idempotency key: keys of different origins never collide."""

    API = "api"
    INTAKE = "intake"
    PORTAL = "portal"
    SYSTEM = "system"


class RegisterCustomer(Ask, frozen=True):
    """A customer and, at once, an empty wallet in each open currency."""

    TYPE = "customer.register.v1"

    name: Name
    email: Email
    phone_number: Phone | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    preferred_locale: Locale | UnsetType = UNSET


class ChangeProfile(Ask, frozen=True):
    """Absent = unchanged; null clears where the type allows it."""

    TYPE = "customer.change_profile.v1"

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    phone_number: Phone | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    preferred_locale: Locale | UnsetType | None = UNSET


class BlockCustomer(Ask, frozen=True):
    """No debits from now on. `identifier`: what the merchant knew him by, where it was not his id."""

    TYPE = "customer.block.v1"

    reason: Reason | UnsetType = UNSET
    identifier: Email | UnsetType = UNSET


class UnblockCustomer(Ask, frozen=True):
    """Debits again. With a `block_id` only that block is ended, not a newer one."""

    TYPE = "customer.unblock.v1"

    block_id: BlockId | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET


class CloseCustomer(Ask, frozen=True):
    """For good; refused while a wallet holds money."""

    TYPE = "customer.close.v1"

    reason: Reason | UnsetType = UNSET


class EraseCustomer(Ask, frozen=True):
    """Destroy the data key of a closed customer: what is personal can never be read again. Nothing declines it, see
    `admission`. It has no reason: nothing personal can be kept any more."""

    TYPE = "customer.erase.v1"


class MoveMoney(Ask, frozen=True):
    """What credit and debit have in common."""

    currency: Currency
    amount: Amount
    cause: Cause = Cause.ADJUSTMENT
    reason: Reason | UnsetType = UNSET
    reference: Reference | UnsetType = UNSET


class CreditWallet(MoveMoney, frozen=True):
    """Put money into a wallet."""

    TYPE = "wallet.credit.v1"


class DebitWallet(MoveMoney, frozen=True):
    """Take money out of a wallet; refused where it would go below zero."""

    TYPE = "wallet.debit.v1"


BULK_ENTRIES_MAX = 1_000
BULK_CUSTOMERS_MAX = 200
BULK_ID_LENGTH_MAX = 120
"""Of the id of a bulk record: its entries' command ids are made of it and of their places."""


class BulkEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A credit or debit as if it were asked for alone."""

    customer_id: CustomerIdText
    entry_type: Literal["credit", "debit"]
    currency: Currency
    amount: Amount
    idempotency_key: IdempotencyKey
    cause: Cause = Cause.ADJUSTMENT
    reason: Reason | UnsetType = UNSET
    reference: Reference | UnsetType = UNSET

    @property
    def ask(self) -> "CreditWallet | DebitWallet":
        move = CreditWallet if self.entry_type == "credit" else DebitWallet
        return move(
            currency=self.currency,
            amount=self.amount,
            cause=self.cause,
            reason=self.reason,
            reference=self.reference,
        )


class EnterInBulk(Ask, frozen=True):
    """Entries of customers of one shard, each with its outcome. The record's subject is one of the customers."""

    TYPE = "wallet.enter_in_bulk.v1"

    entries: Annotated[list[BulkEntry], Meta(min_length=1, max_length=BULK_ENTRIES_MAX)]
    all_or_nothing: Annotated[
        bool, Meta(description="per customer: where one of his entries fails, none of them is applied")
    ] = False

    @property
    def customers(self) -> Iterator[str]:
        """Of whom it speaks; some more than once."""
        return (entry.customer_id for entry in self.entries)


FACTS_IN_BULK_MAX = 200


class BulkFact(Struct, frozen=True, kw_only=True):
    """What upstream said, as if it were asked for alone by a command of this `type` with this `data`."""

    subject: CustomerIdText
    businessid: Identifier
    mode: Literal["live", "test"]
    idempotencykey: IdempotencyKey
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    data: Raw


class RecordInBulk(Ask, frozen=True):
    """What upstream said of customers of one shard, each with its outcome. The subject is one of the customers."""

    TYPE = "upstream.record_in_bulk.v1"

    facts: Annotated[list[BulkFact], Meta(min_length=1, max_length=FACTS_IN_BULK_MAX)]

    @property
    def customers(self) -> Iterator[str]:
        """Of whom it speaks; some more than once."""
        return (fact.subject for fact in self.facts)


CustomerAsk = (
    RegisterCustomer
    | ChangeProfile
    | BlockCustomer
    | UnblockCustomer
    | CloseCustomer
    | EraseCustomer
    | CreditWallet
    | DebitWallet
)
AnyAsk = CustomerAsk | ForeignAsk | RecordUpstream | RequestAsk

ASKS: dict[str, type[AnyAsk]] = {ask.TYPE: ask for ask in get_args(AnyAsk)}


AnyBulk = EnterInBulk | RecordInBulk

BULKS: dict[str, type[AnyBulk]] = {bulk.TYPE: bulk for bulk in get_args(AnyBulk)}
"""Records that hold many commands."""


class Command(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 envelope of a command; unknown attributes are ignored."""

    specversion: Literal["1.0"] = "1.0"
    id: Identifier
    source: Annotated[str, Meta(min_length=1, max_length=128)]
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    subject: CustomerIdText
    businessid: Identifier
    mode: Literal["live", "test"]
    origin: Origin
    actor: Identifier
    correlationid: Identifier
    idempotencykey: IdempotencyKey | UnsetType = UNSET
    attempt: Annotated[int, Meta(ge=0, le=100)] = 0
    deadline: Timestamp | UnsetType = UNSET
    effectivetime: Timestamp | UnsetType = UNSET
    replyto: ReplyTo | UnsetType = UNSET
    awaited: Annotated[bool, Meta(description="the asker waits until read models show it: publish soon")] = (
        False
    )
    data: Raw

    @property
    def tenant(self) -> Tenant:
        """Whose command this is, as the producer says: topic ACLs make that true."""
        return Tenant(self.businessid, self.mode)

    @property
    def customer_id(self) -> CustomerId:
        return CustomerId(self.subject)
