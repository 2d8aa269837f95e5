"""What upstream told, as the read models have it: the questions and what is found."""

from datetime import datetime
from typing import Any, NamedTuple, Protocol

from events.ids import Tenant
from services.api.ports import Page

Data = dict[str, Any]


class Person(NamedTuple):
    """The customer as he is known here now; empty where he is gone."""

    customer_id: str
    name: str
    email: str
    phone_number: str | None
    metadata: dict[str, str | int | float | bool]


class Told(NamedTuple):
    """An object: `known` is stored in clear, `object` as it came. `row`: columns of its own."""

    person: Person
    created_at: datetime
    updated_at: datetime
    known: Data
    object: Data
    row: Data


class Part(NamedTuple):
    """A refund or dispute of a payment; `row`: columns of its own."""

    created_at: datetime
    known: Data
    object: Data
    row: Data


class Whole(NamedTuple):
    """A payment with its refunds and disputes, newest first; `sequence`: what it is as of."""

    sequence: int
    payment: Told
    refunds: list[Part]
    disputes: list[Part]


class Instance(NamedTuple):
    """An activation of a licence key."""

    instance_id: str
    licence_key_id: str
    customer_id: str
    name: str
    created_at: datetime


class Kind(NamedTuple):
    """A table of objects: its key, and what lists of it may be filtered by."""

    table: str
    key: str
    filters: tuple[str, ...]


TIMES = ("created_at_gte", "created_at_lte")
PAYMENTS = Kind(
    "payments",
    "payment_id",
    ("brand_id", "currency", "customer_id", "product_id", "status", "subscription_id", *TIMES),
)
REFUNDS = Kind("refunds", "refund_id", ("customer_id", "status", "subscription_id", *TIMES))
DISPUTES = Kind("disputes", "dispute_id", ("customer_id", "status", "stage", *TIMES))
SUBSCRIPTIONS = Kind(
    "subscriptions",
    "subscription_id",
    ("brand_id", "cancel_at_next_billing_date", "customer_id", "product_id", "status", *TIMES),
)
LICENCE_KEYS = Kind(
    "licence_keys", "licence_key_id", ("customer_id", "product_id", "source", "status", *TIMES)
)


class Transaction(NamedTuple):
    """A payment as a customer's tab shows it."""

    payment_id: str
    created_at: datetime
    status: str
    currency: str
    amount: int
    refunded: int
    refunds_succeeded: int
    disputed: str | None
    known: Data


class Requested(NamedTuple):
    """What was asked of upstream; `object_id` of a top-up: the payment that answered it."""

    request_id: str
    kind: str
    status: str
    object_id: str | None
    currency: str | None
    amount: int | None
    created_at: datetime
    updated_at: datetime


class Foreign(Protocol):
    """The read models of what upstream told; every method raises ViewsUnavailable."""

    async def one(self, tenant: Tenant, kind: Kind, identifier: str) -> tuple[int, Told] | None:
        """The newest, with the sequence of its shard that it is as of."""
        ...

    async def page(self, tenant: Tenant, kind: Kind, page: Page, where: Data) -> list[Told]:
        """Newest first; `where` holds some of the kind's filters, or `status_not`: none of these."""
        ...

    async def payment(self, tenant: Tenant, payment_id: str) -> Whole | None:
        """With all that became of it."""
        ...

    async def instance(self, tenant: Tenant, instance_id: str) -> tuple[int, Instance] | None: ...

    async def instances(self, tenant: Tenant, page: Page, licence_key_id: str | None) -> list[Instance]:
        """Newest first."""
        ...

    async def transactions(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Transaction]:
        """Newest first, one more than `limit` where there is one."""
        ...

    async def requests(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Requested]:
        """Newest first, one more than `limit` where there is one."""
        ...
