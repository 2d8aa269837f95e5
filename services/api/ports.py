"""What the routes need from the outside. Tests put fakes in their place."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from events.commands import Command
from events.ids import Tenant
from events.replies import Reply


class NotHandedOver(Exception):
    """The command certainly never reached the ledger."""


class OutcomeUnknown(Exception):
    """The command was handed over and nobody answered in time."""


class ViewsUnavailable(Exception):
    """The read models' database does not answer."""


class ViewsTooSlow(ViewsUnavailable):
    """A statement was ended because it took longer than it may."""


class Ticket(NamedTuple):
    """What a command needs so that its reply finds back."""

    command_id: str
    replyto: str
    deadline: str


class Gateway(Protocol):
    """The way to the ledger."""

    def ticket(self) -> Ticket:
        """A fresh command id, where to answer, and until when."""
        ...

    async def ask(self, command: Command, shard: int) -> Reply:
        """Hand a command over and wait for what became of it.

        Raises:
            NotHandedOver: certainly not applied.
            OutcomeUnknown: deadline and grace are over.
        """
        ...


class Visibility(Protocol):
    """How far the read models are."""

    async def wait(self, shard: int, sequence: int, seconds: float) -> bool:
        """True as soon as the read models have this position, False when the time is over."""
        ...

    async def confirm(self, at_least: Mapping[int, int]) -> bool:
        """Whether the tables have these positions (sequence by shard), asked of them: `wait` believes what it heard.

        Raises:
            ViewsUnavailable
        """
        ...

    def owe(self, shard: int, sequence: int) -> None:
        """An answer of ours names this position. What a caller names owes nobody: he may have made it up."""
        ...

    def reached(self) -> Sequence[int]:
        """A sequence for each shard that the read models have, at least."""
        ...


class CustomerRow(NamedTuple):
    """A customer as the read model has him."""

    customer_id: str
    name: str
    email: str
    phone_number: str | None
    metadata: dict[str, str | int | float | bool]
    preferred_locale: str | None
    created_at: datetime
    blocked_at: datetime | None = None
    blocklist_entry_id: str | None = None


class BlocklistRow(NamedTuple):
    """An entry of the blocklist, with its customer's name and address; `sequence`: what it is as of."""

    sequence: int
    block_id: str
    customer_id: str
    name: str
    email: str
    identifier: str
    reason: str | None
    created_at: datetime
    unblocked_at: datetime | None


class WalletRow(NamedTuple):
    """A wallet in which something happened."""

    currency: str
    balance: int
    updated_at: datetime


class EntryRow(NamedTuple):
    """A movement of money, newest first."""

    entry_id: str
    currency: str
    is_credit: bool
    amount: int
    balance_before: int
    balance_after: int
    cause: str
    reference: str | None
    reason: str | None
    created_at: datetime


class Page(NamedTuple):
    """`limit` rows from `offset`."""

    limit: int
    offset: int


class CustomerFilter(NamedTuple):
    """None: do not filter."""

    email: str | None = None
    name: str | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None


class BlocklistFilter(NamedTuple):
    """None: do not filter. `identifier`: part of the address or of the id."""

    identifier: str | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None


class Blocklist(Protocol):
    """The read model of the blocklist; every method raises ViewsUnavailable."""

    async def entry(self, tenant: Tenant, block_id: str) -> BlocklistRow | None:
        """Also one that was ended."""
        ...

    async def entries(self, tenant: Tenant, page: Page, where: BlocklistFilter) -> list[BlocklistRow]:
        """Those in force, newest first."""
        ...

    async def addressed(self, tenant: Tenant, email: str) -> list[str]:
        """Customers of this address who are not closed, whatever the case: two at most, so that one is told from several."""
        ...


class Queries(Protocol):
    """The read models. A customer's answers carry the sequence of his shard that they are as of.

    Every method raises ViewsUnavailable; None or `created_at` None means that this tenant has no such customer.
    """

    async def customer(self, tenant: Tenant, customer_id: str) -> tuple[int, CustomerRow | None]: ...

    async def customers(self, tenant: Tenant, page: Page, where: CustomerFilter) -> list[CustomerRow]: ...

    async def wallets(
        self, tenant: Tenant, customer_id: str
    ) -> tuple[int, datetime | None, list[WalletRow]]: ...

    async def entries(
        self, tenant: Tenant, customer_id: str, page: Page, currency: str | None
    ) -> tuple[int, list[EntryRow] | None]: ...
