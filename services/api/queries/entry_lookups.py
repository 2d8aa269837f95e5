"""Ledger entries of a tenant or of one customer: pages by an index, and the same filter as a stream for exports."""

from datetime import datetime
from typing import Any

from events.ids import Tenant
from services.api.cursor import micros, moment
from services.api.lookups import COUNTED_MAX, Counted, Entries, EntryLookup, FoundEntry
from services.api.queries.customer_lookups import WALK_ROWS
from services.api.queries.reader import Reader
from services.api.queries.wall import Statement, of, walled

_MINE = "e.business_id = %(business_id)s AND e.mode = %(mode)s"
COLUMNS = """
    e.shard, e.sequence, e.customer_id, e.entry_id, e.currency, e.is_credit, e.amount_minor, e.balance_before_minor,
    e.balance_after_minor, e.cause, e.counter_account, e.reference, e.reason, e.created_at"""

_ONE = walled(f"SELECT {COLUMNS} FROM ledger_entries e WHERE {_MINE} AND e.entry_id = %(entry_id)s")
_ALL = walled(
    "SELECT coalesce(sum(t.entries), 0)::bigint FROM tallies t "
    "WHERE t.business_id = %(business_id)s AND t.mode = %(mode)s"
)


class Query:
    """A lookup in pieces of SQL, with the values they need."""

    def __init__(self, lookup: EntryLookup) -> None:
        self.lookup = lookup
        self.values: dict[str, Any] = lookup._asdict() | {"rows": WALK_ROWS, "limit": lookup.limit + 1}
        del self.values["after"]
        self.key = ("sequence",) if lookup.by_sequence else ("created_at", "shard", "sequence")

    def sorted_by(self) -> str:
        way = "DESC" if self.lookup.descending else "ASC"
        return ", ".join(f"e.{column} {way}" for column in self.key)

    def reach(self) -> str:
        """Conditions that the index of the order answers."""
        parts = [_MINE]
        if self.lookup.by_sequence:
            parts.append("e.customer_id = %(customer_id)s")
        if self.lookup.reference is not None:
            parts.append("e.reference = %(reference)s")
        if not self.lookup.by_sequence:
            parts += self._times()
        if self.lookup.after is not None:
            sign = "<" if self.lookup.descending else ">"
            names = [f"after_{column}" for column in self.key]
            self.values |= zip(names, _of_cursor(self.lookup.after), strict=True)
            columns = ", ".join(f"e.{column}" for column in self.key)
            parts.append(f"({columns}) {sign} ({', '.join(f'%({name})s' for name in names)})")
        return " AND ".join(parts)

    def fits(self) -> str:
        """The other conditions."""
        given = {
            "currency": "e.currency = %(currency)s",
            "cause": "e.cause = %(cause)s",
            "is_credit": "e.is_credit = %(is_credit)s",
        }
        if not self.lookup.by_sequence:
            given["customer_id"] = "e.customer_id = %(customer_id)s"
        parts = [condition for name, condition in given.items() if self.values[name] is not None]
        if self.lookup.by_sequence:
            parts += self._times()
        return " AND ".join(parts) or "true"

    def page(self) -> Statement:
        """At most `rows` rows of the index; the last of them is answered in any case, to go on from."""
        return walled(
            f"SELECT {COLUMNS}, CASE WHEN e.place = %(rows)s THEN {self.fits()} ELSE true END AS fits, e.place FROM ("
            f"SELECT e.*, row_number() OVER (ORDER BY {self.sorted_by()}) AS place FROM ledger_entries e "
            f"WHERE {self.reach()} ORDER BY {self.sorted_by()} LIMIT %(rows)s) e "
            f"WHERE ({self.fits()}) OR e.place = %(rows)s ORDER BY {self.sorted_by()} LIMIT %(limit)s"
        )

    def total(self) -> Statement:
        return walled(
            f"SELECT count(*) FROM (SELECT 1 FROM ledger_entries e WHERE {self.reach()} AND {self.fits()} "
            f"LIMIT {COUNTED_MAX + 1}) m"
        )

    def stream(self) -> Statement:
        """All of it, in the order of the index: nothing is sorted, rows come as they are fetched."""
        return walled(
            f"SELECT {COLUMNS} FROM ledger_entries e WHERE {self.reach()} AND {self.fits()} "
            f"ORDER BY {self.sorted_by()}"
        )

    def _times(self) -> list[str]:
        bounds = {"created_at_gte": ">=", "created_at_lte": "<="}
        return [
            f"e.created_at {sign} %({name})s"
            for name, sign in bounds.items()
            if self.values[name] is not None
        ]


class EntryLookups:
    """The other half of `lookups.Lookups`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> Entries:
        """See `Lookups`."""
        query = Query(lookup)
        statement = query.page()
        found = await self._reader.run(statement, of(tenant, query.values))
        items = [row for row in found if row[-2]][: lookup.limit]
        entries = [FoundEntry._make(row[:-2]) for row in items]
        if len(found) > lookup.limit and len(items) == lookup.limit:
            return Entries(entries, _to_cursor(lookup, entries[-1]))
        if found and found[-1][-1] == WALK_ROWS:
            return Entries(entries, _to_cursor(lookup, FoundEntry._make(found[-1][:-2])))
        return Entries(entries, None)

    async def entry(self, tenant: Tenant, entry_id: str) -> FoundEntry | None:
        """See `Lookups`."""
        rows = await self._reader.run(_ONE, of(tenant, {"entry_id": entry_id}))
        return FoundEntry._make(rows[0]) if rows else None

    async def entries_total(self, tenant: Tenant, lookup: EntryLookup) -> Counted | None:
        """See `Lookups`."""
        if lookup.everything:
            return await self._reader.counted(_ALL, of(tenant, {}), None)
        query = Query(lookup._replace(after=None))
        return await self._reader.counted(query.total(), of(tenant, query.values), COUNTED_MAX)


def _to_cursor(lookup: EntryLookup, entry: FoundEntry) -> tuple[int, ...]:
    if lookup.by_sequence:
        return (entry.sequence,)
    return (micros(entry.created_at), entry.shard, entry.sequence)


def _of_cursor(place: tuple[int, ...]) -> tuple[int | datetime, ...]:
    if len(place) == 1:
        return place
    return (moment(place[0]), *place[1:])
