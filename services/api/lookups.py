"""What `/v1` lists can be asked, as values: the filters, the orders, what is found."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from events.ids import Tenant

COUNTED_MAX = 1_000
"""Up to here a total with a filter is exact."""


class ExportsBusy(Exception):
    """As many exports run as may."""


class CustomerLookup(NamedTuple):
    """None or empty: do not filter. `after`: the last place of the page before."""

    words: tuple[str, ...] = ()
    currency: str | None = None
    balance_gte: int | None = None
    balance_lte: int | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    status: str | None = None
    order: str = "created_at"
    descending: bool = True
    limit: int = 25
    after: tuple[Any, ...] | None = None

    @property
    def everything(self) -> bool:
        """Nothing is filtered. Sorted by balance it is: wallets without a movement have no place in that order."""
        return self.order != "balance" and self == CustomerLookup(
            order=self.order, descending=self.descending, limit=self.limit, after=self.after
        )

    @property
    def narrow(self) -> bool:
        """Filtered by something that has an index of its own."""
        positive = self.balance_gte is not None and self.balance_gte > 0
        rare = self.status not in (None, "active")
        return bool(self.words or self.metadata) or rare or (positive and self.order != "balance")


class FoundCustomer(NamedTuple):
    """A customer with his balances, by currency, where something happened."""

    customer_id: str
    name: str
    email: str
    phone_number: str | None
    metadata: dict[str, str | int | float | bool]
    preferred_locale: str | None
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None
    status: str
    balances: dict[str, int]


class EntryLookup(NamedTuple):
    """None: do not filter."""

    customer_id: str | None = None
    currency: str | None = None
    cause: str | None = None
    reference: str | None = None
    is_credit: bool | None = None
    created_at_gte: datetime | None = None
    created_at_lte: datetime | None = None
    descending: bool = True
    limit: int = 25
    after: tuple[Any, ...] | None = None

    @property
    def everything(self) -> bool:
        """Nothing is filtered."""
        return self == EntryLookup(descending=self.descending, limit=self.limit, after=self.after)

    @property
    def by_sequence(self) -> bool:
        """A customer's entries are in one shard; otherwise time comes first, shard and sequence decide."""
        return self.customer_id is not None and self.reference is None


class FoundEntry(NamedTuple):
    """A movement of money, with the balances around it."""

    shard: int
    sequence: int
    customer_id: str
    entry_id: str
    currency: str
    is_credit: bool
    amount: int
    balance_before: int
    balance_after: int
    cause: str
    counter_account: str
    reference: str | None
    reason: str | None
    created_at: datetime


class Counted(NamedTuple):
    """A total; not exact: there are more than `number`."""

    number: int
    exact: bool


class Customers(NamedTuple):
    """A page; `next` is None at the end of the list only: a page may be short."""

    items: list[FoundCustomer]
    next: tuple[Any, ...] | None


class Entries(NamedTuple):
    """See `Customers`."""

    items: list[FoundEntry]
    next: tuple[Any, ...] | None


class Lookups(Protocol):
    """The read models, asked for more than a key. Every method raises ViewsUnavailable."""

    async def customers(self, tenant: Tenant, lookup: CustomerLookup) -> Customers: ...

    async def customer(self, tenant: Tenant, customer_id: str) -> FoundCustomer | None: ...

    async def customers_total(self, tenant: Tenant, lookup: CustomerLookup) -> Counted | None:
        """Of all pages: exact without a filter, up to COUNTED_MAX with one; None where counting takes too long."""
        ...

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> Entries: ...

    async def entry(self, tenant: Tenant, entry_id: str) -> FoundEntry | None: ...

    async def entries_total(self, tenant: Tenant, lookup: EntryLookup) -> Counted | None:
        """See `customers_total`."""
        ...


class Exports(Protocol):
    """Ledger entries as a stream."""

    def entries(self, tenant: Tenant, lookup: EntryLookup) -> AsyncGenerator[list[FoundEntry], None]:
        """In pieces; closing it frees what it holds. Raises ExportsBusy, ViewsUnavailable."""
        ...
