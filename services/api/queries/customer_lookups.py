"""Customers by what they are called, what they hold, when they came: pages whose cost does not grow with the list.

A page walks the index of its order and keeps what fits, for a bounded number of rows. Where that finds little, and the
filter has an index of its own, it looks the few matches up and sorts them. If they are many, it walks on.
"""

from datetime import datetime
from typing import Any

from events.ids import Tenant
from services.api.cursor import micros
from services.api.lookups import COUNTED_MAX, Counted, CustomerLookup, Customers, FoundCustomer
from services.api.queries.customer_query import FOUND, MINE, Query
from services.api.queries.reader import Reader
from services.api.queries.wall import of, walled

GLANCE_ROWS = 1_000
WALK_ROWS = 10_000
MATCHES_MAX = 2_000
COMMON = 4
"""Matches in a glance from which on walking finds a page sooner than sorting all matches."""

_ONE = walled(f"SELECT {FOUND} FROM customers c WHERE {MINE.format('c')} AND c.customer_id = %(customer_id)s")
_ALL = walled(f"SELECT coalesce(sum(t.customers), 0)::bigint FROM tallies t WHERE {MINE.format('t')}")


class CustomerLookups:
    """Half of `lookups.Lookups`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def customers(self, tenant: Tenant, lookup: CustomerLookup) -> Customers:
        """See `Lookups`."""
        if not lookup.narrow:
            return await self._walk(tenant, lookup, lookup.after, WALK_ROWS)
        glance = await self._walk(tenant, lookup, lookup.after, GLANCE_ROWS)
        if glance.next is None or len(glance.items) == lookup.limit:
            return glance
        if len(glance.items) < COMMON and _has_trigram(lookup):
            found = await self._find(tenant, lookup)
            if found is not None:
                return found
        rest = lookup._replace(limit=lookup.limit - len(glance.items))
        further = await self._walk(tenant, rest, glance.next, WALK_ROWS)
        return Customers(glance.items + further.items, further.next)

    async def customer(self, tenant: Tenant, customer_id: str) -> FoundCustomer | None:
        """See `Lookups`."""
        rows = await self._reader.run(_ONE, of(tenant, {"customer_id": customer_id}))
        return FoundCustomer._make(rows[0]) if rows else None

    async def customers_total(self, tenant: Tenant, lookup: CustomerLookup) -> Counted | None:
        """See `Lookups`."""
        if lookup.everything:
            return await self._reader.counted(_ALL, of(tenant, {}), None)
        query = Query(lookup._replace(after=None))
        matches = f"SELECT count(*) FROM ({query.matching('1', None)} LIMIT {COUNTED_MAX + 1}) m"
        return await self._reader.counted(walled(matches), of(tenant, query.values), COUNTED_MAX)

    async def _walk(
        self, tenant: Tenant, lookup: CustomerLookup, after: tuple[Any, ...] | None, rows: int
    ) -> Customers:
        query = Query(lookup)
        statement = walled(query.walk(after, rows))
        found = await self._reader.run(statement, of(tenant, query.values))
        items = [row for row in found if row[-2]][: lookup.limit]
        people = [FoundCustomer._make(row[:-3]) for row in items]
        if len(found) > lookup.limit and len(items) == lookup.limit:
            return Customers(people, _to_cursor(items[-1][-3], items[-1][0]))
        if found and found[-1][-1] == rows:
            return Customers(people, _to_cursor(found[-1][-3], found[-1][0]))
        return Customers(people, None)

    async def _find(self, tenant: Tenant, lookup: CustomerLookup) -> Customers | None:
        """None: there are too many matches to sort."""
        query = Query(lookup)
        statement = walled(query.find(lookup.after, MATCHES_MAX))
        found = await self._reader.run(statement, of(tenant, query.values))
        if found and found[0][-1] > MATCHES_MAX:
            return None
        items = found[: lookup.limit]
        people = [FoundCustomer._make(row[:-2]) for row in items]
        more = len(found) > lookup.limit
        return Customers(people, _to_cursor(items[-1][-2], items[-1][0]) if more else None)


def _has_trigram(lookup: CustomerLookup) -> bool:
    """Words of one or two letters have no trigram to look up; the walk alone finds them."""
    runs = ("".join(c if c.isalnum() else " " for c in word).split() for word in lookup.words)
    return not lookup.words or any(len(run) >= 3 for found in runs for run in found)


def _to_cursor(key: Any, customer_id: str) -> tuple[Any, ...]:
    return (micros(key) if isinstance(key, datetime) else key, customer_id)
