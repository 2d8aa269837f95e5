"""Customers by what they are called, what they hold, when they came: pages whose cost does not grow with the list.

A page walks the index of its order and keeps what fits, for a bounded number of rows. Where that finds little, and the
filter has an index of its own, it looks the few matches up and sorts them. If they are many, it walks on.
"""

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from events.ids import Tenant
from services.api.cursor import micros, moment
from services.api.lookups import COUNTED_MAX, Counted, CustomerLookup, Customers, FoundCustomer
from services.api.reader import Reader
from services.api.wall import of, walled

GLANCE_ROWS = 1_000
WALK_ROWS = 10_000
MATCHES_MAX = 2_000
COMMON = 4
"""Matches in a glance from which on walking finds a page sooner than sorting all matches."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?")
_MINE = "{0}.business_id = %(business_id)s AND {0}.mode = %(mode)s"

_FOUND = f"""
    c.customer_id, c.name, c.email, c.phone_number, c.metadata, c.preferred_locale, c.created_at, c.updated_at,
    c.status, (
        SELECT coalesce(jsonb_object_agg(w.currency, w.balance_minor), '{{}}') FROM wallets w
        WHERE {_MINE.format("w")} AND w.customer_id = c.customer_id) AS balances"""

_ONE = walled(
    f"SELECT {_FOUND} FROM customers c WHERE {_MINE.format('c')} AND c.customer_id = %(customer_id)s"
)
_ALL = walled(f"SELECT coalesce(sum(t.customers), 0)::bigint FROM tallies t WHERE {_MINE.format('t')}")

_BALANCE = f"""(
    SELECT w.balance_minor FROM wallets w
    WHERE {_MINE.format("w")} AND w.customer_id = c.customer_id AND w.currency = %(currency)s)"""


class _Order(NamedTuple):
    """`source` s is walked by an index over the tenant, `key` and the customer's id."""

    source: str
    key: str


_ORDERS = {
    "created_at": _Order("customers", "created_at"),
    "name": _Order("customers", "name_key"),
    "balance": _Order("wallets", "balance_minor"),
}


class Query:
    """A lookup in pieces of SQL, with the values they need."""

    def __init__(self, lookup: CustomerLookup) -> None:
        self.lookup = lookup
        self.order = _ORDERS[lookup.order]
        self.values: dict[str, Any] = {
            "currency": lookup.currency,
            "balance_gte": lookup.balance_gte,
            "balance_lte": lookup.balance_lte,
            "created_at_gte": lookup.created_at_gte,
            "created_at_lte": lookup.created_at_lte,
            "status": lookup.status,
        }
        self.fits = self._fits()

    def sorted_by(self, alias: str) -> str:
        way = "DESC" if self.lookup.descending else "ASC"
        return f"{alias}.{self.order.key} {way}, {alias}.customer_id {way}"

    def reach(self, alias: str, after: tuple[Any, ...] | None) -> str:
        """Conditions that the index of the order answers: from where, and how far."""
        parts = [_MINE.format(alias)]
        if self.order.source == "wallets":
            parts += [f"{alias}.currency = %(currency)s", *self._bounds(f"{alias}.balance_minor", "balance")]
        if self.order.key == "created_at":
            parts += self._bounds(f"{alias}.created_at", "created_at")
        if after is not None:
            self.values["after_key"], self.values["after_id"] = _of_cursor(self.order, after)
            sign = "<" if self.lookup.descending else ">"
            parts.append(
                f"({alias}.{self.order.key}, {alias}.customer_id) {sign} (%(after_key)s, %(after_id)s)"
            )
        return " AND ".join(parts)

    def _fits(self) -> str:
        """Conditions on customer `c` that the order's index does not answer."""
        parts = []
        for number, word in enumerate(self.lookup.words):
            self.values[f"word_{number}"] = word
            parts.append(f"c.search LIKE part_pattern(%(word_{number})s)")
        for number, (name, text) in enumerate(self.lookup.metadata):
            forms = {f"form_{number}_{kind}": form for kind, form in enumerate(metadata_forms(name, text))}
            self.values |= forms
            parts.append("(" + " OR ".join(f"c.metadata @> %({form})s::jsonb" for form in forms) + ")")
        if self.lookup.status is not None:
            parts.append("c.status = %(status)s")
        if self.order.key != "created_at":
            parts += self._bounds("c.created_at", "created_at")
        if self.order.source != "wallets":
            parts += self._bounds(f"coalesce({_BALANCE}, 0)", "balance")
        return " AND ".join(parts) or "true"

    def _bounds(self, column: str, name: str) -> list[str]:
        found = []
        if self.values[f"{name}_gte"] is not None:
            found.append(f"{column} >= %({name}_gte)s")
        if self.values[f"{name}_lte"] is not None:
            found.append(f"{column} <= %({name}_lte)s")
        return found

    def walk(self, after: tuple[Any, ...] | None, rows: int) -> str:
        """At most `rows` rows of the index; the last of them is answered in any case, to go on from."""
        self.values |= {"rows": rows, "limit": self.lookup.limit + 1}
        place = f"row_number() OVER (ORDER BY {self.sorted_by('s')}) AS place"
        reached = f"WHERE {self.reach('s', after)} ORDER BY {self.sorted_by('s')} LIMIT %(rows)s"
        if self.order.source == "customers":
            walked = f"(SELECT s.*, {place} FROM customers s {reached}) c"
            here = "c"
        else:
            walked = (
                f"(SELECT s.balance_minor, s.customer_id, {place} FROM wallets s {reached}) b "
                f"JOIN customers c ON {_MINE.format('c')} AND c.customer_id = b.customer_id"
            )
            here = "b"
        return (
            f"SELECT {_FOUND}, {here}.{self.order.key}, ({self.fits}) AS fits, {here}.place "
            f"FROM {walked} WHERE ({self.fits}) OR {here}.place = %(rows)s "
            f"ORDER BY {self.sorted_by(here)} LIMIT %(limit)s"
        )

    def matching(self, columns: str, after: tuple[Any, ...] | None) -> str:
        """All customers that fit, in no order. Balances from 1 on are looked up by their index."""
        wallets = ""
        parts = [_MINE.format("c"), self.fits]
        reach = self.reach("b" if self.order.source == "wallets" else "c", after)
        if self.order.source == "wallets" or (self.lookup.balance_gte or 0) > 0:
            wallets = "JOIN wallets b ON " + " AND ".join(
                [
                    _MINE.format("b"),
                    "b.customer_id = c.customer_id",
                    "b.currency = %(currency)s",
                    *self._bounds("b.balance_minor", "balance"),
                ]
            )
        return f"SELECT {columns} FROM customers c {wallets} WHERE {' AND '.join([*parts, reach])}"

    def find(self, after: tuple[Any, ...] | None) -> str:
        """A page of all matches, if they are few: `found` says how many there are."""
        self.values |= {"matches": MATCHES_MAX + 1, "limit": self.lookup.limit + 1}
        key = "b.balance_minor" if self.order.source == "wallets" else f"c.{self.order.key}"
        found = self.matching(f"c.*{', ' + key if key[0] == 'b' else ''}", after)
        return (
            f"SELECT {_FOUND}, c.{self.order.key}, c.found FROM ("
            f"SELECT m.*, count(*) OVER () AS found FROM ({found} LIMIT %(matches)s) m) c "
            f"ORDER BY {self.sorted_by('c')} LIMIT %(limit)s"
        )


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
        statement = walled(query.find(lookup.after))
        found = await self._reader.run(statement, of(tenant, query.values))
        if found and found[0][-1] > MATCHES_MAX:
            return None
        items = found[: lookup.limit]
        people = [FoundCustomer._make(row[:-2]) for row in items]
        more = len(found) > lookup.limit
        return Customers(people, _to_cursor(items[-1][-2], items[-1][0]) if more else None)


def metadata_forms(name: str, text: str) -> list[str]:
    """What a query says as text may be a text, a number or a boolean in the metadata."""
    literals = [json.dumps(text)]
    if text in ("true", "false") or _NUMBER.fullmatch(text):
        literals.append(text)
    return [f"{{{json.dumps(name)}: {literal}}}" for literal in literals]


def _has_trigram(lookup: CustomerLookup) -> bool:
    """Words of one or two letters have no trigram to look up; the walk alone finds them."""
    runs = ("".join(c if c.isalnum() else " " for c in word).split() for word in lookup.words)
    return not lookup.words or any(len(run) >= 3 for found in runs for run in found)


def _to_cursor(key: Any, customer_id: str) -> tuple[Any, ...]:
    return (micros(key) if isinstance(key, datetime) else key, customer_id)


def _of_cursor(order: _Order, place: tuple[Any, ...]) -> tuple[Any, ...]:
    key, customer_id = place
    return (moment(key) if order.key == "created_at" else key, customer_id)
