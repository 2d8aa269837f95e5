"""What upstream told, read from PostgreSQL: one statement per answer."""

from datetime import datetime
from typing import Any

from events.ids import Tenant
from services.api.foreign_ports import (
    PAYMENTS,
    Data,
    Instance,
    Kind,
    Part,
    Person,
    Requested,
    Told,
    Transaction,
    Whole,
)
from services.api.ports import Page
from services.api.queries import foreign_sql as sql
from services.api.queries.reader import Reader
from services.api.queries.wall import of

KEYED_FILTERS = frozenset({"customer_id"})
"""Each of these alone has an index that also gives the order: no plan depends on the value."""

_PERSON = 5
_HEAD = _PERSON + 4


class PostgresForeign:
    """Implements `foreign_ports.Foreign`. `keyed` reads by key; `searching` plans for each value."""

    def __init__(self, keyed: Reader, searching: Reader) -> None:
        self._keyed = keyed
        self._searching = searching

    async def one(self, tenant: Tenant, kind: Kind, identifier: str) -> tuple[int, Told] | None:
        """See `Foreign`."""
        rows = await self._keyed.run(sql.one_of(kind), of(tenant, {"id": identifier}))
        return (rows[0][0], _told(kind, rows[0][1:])) if rows else None

    async def page(self, tenant: Tenant, kind: Kind, page: Page, where: Data) -> list[Told]:
        """See `Foreign`."""
        statement = sql.page_of(kind, tuple(sorted(where)))
        reader = self._keyed if where.keys() <= KEYED_FILTERS else self._searching
        rows = await reader.run(statement, of(tenant, where | page._asdict()))
        return [_told(kind, row) for row in rows]

    async def payment(self, tenant: Tenant, payment_id: str) -> Whole | None:
        """See `Foreign`."""
        rows = await self._keyed.run(sql.WHOLE, of(tenant, {"id": payment_id}))
        if not rows:
            return None
        sequence, *columns, refunds, disputes = rows[0]
        return Whole(sequence, _told(PAYMENTS, columns), _parts(refunds), _parts(disputes))

    async def instance(self, tenant: Tenant, instance_id: str) -> tuple[int, Instance] | None:
        """See `Foreign`."""
        rows = await self._keyed.run(sql.INSTANCE, of(tenant, {"id": instance_id}))
        return (rows[0][0], Instance._make(rows[0][1:])) if rows else None

    async def instances(self, tenant: Tenant, page: Page, licence_key_id: str | None) -> list[Instance]:
        """See `Foreign`."""
        statement = sql.INSTANCES if licence_key_id is None else sql.INSTANCES_OF_KEY
        values = page._asdict() | {"licence_key_id": licence_key_id}
        return [Instance._make(row) for row in await self._keyed.run(statement, of(tenant, values))]

    async def transactions(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Transaction]:
        """See `Foreign`."""
        values: Data = {"customer_id": customer_id, "limit": limit + 1}
        statement = sql.TRANSACTIONS
        if after is not None:
            statement = sql.TRANSACTIONS_AFTER
            values |= dict(zip(("after_created_at", "after_payment_id"), after, strict=True))
        return [Transaction._make(row) for row in await self._keyed.run(statement, of(tenant, values))]

    async def requests(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Requested]:
        """See `Foreign`."""
        values: Data = {"customer_id": customer_id, "limit": limit + 1}
        statement = sql.REQUESTS
        if after is not None:
            statement = sql.REQUESTS_AFTER
            values |= dict(zip(("after_created_at", "after_request_id"), after, strict=True))
        return [Requested._make(row) for row in await self._keyed.run(statement, of(tenant, values))]


def _told(kind: Kind, columns: Any) -> Told:
    customer_id, *profile = columns[:_PERSON]
    gone = profile[0] is None
    person = Person(customer_id, "", "", None, {}) if gone else Person(customer_id, *profile)
    row = dict(zip(sql.ROWS[kind.table], columns[_HEAD:], strict=True))
    created_at, updated_at, known, came = columns[_PERSON:_HEAD]
    return Told(person, created_at, updated_at, known, came, row)


def _parts(found: list[Any] | None) -> list[Part]:
    names = ("status", "amount", "currency", "stage")
    return [
        Part(datetime.fromisoformat(created_at), known, came, dict(zip(names, columns, strict=False)))
        for created_at, known, came, *columns in found or ()
    ]
