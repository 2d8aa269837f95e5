"""The SQL of customer lookups: a lookup in pieces, put together as a walk, as a search for matches, or as a count."""

import json
import re
from typing import Any, NamedTuple

from services.api.cursor import moment
from services.api.lookups import CustomerLookup

_ID = re.compile(r"[A-Za-z]+_[0-9A-Za-z]{12,64}")
_PROBE_LENGTH = 8
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?")
MINE = "{0}.business_id = %(business_id)s AND {0}.mode = %(mode)s"

FOUND = f"""
    c.customer_id, c.name, c.email, c.phone_number, c.metadata, c.preferred_locale, c.created_at, c.updated_at,
    c.erased_at, c.status, (
        SELECT coalesce(jsonb_object_agg(w.currency, w.balance_minor), '{{}}') FROM wallets w
        WHERE {MINE.format("w")} AND w.customer_id = c.customer_id) AS balances"""

_BALANCE = f"""(
    SELECT w.balance_minor FROM wallets w
    WHERE {MINE.format("w")} AND w.customer_id = c.customer_id AND w.currency = %(currency)s)"""


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
        parts = [MINE.format(alias)]
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
            self.values |= {f"word_{number}": word, f"probe_{number}": _probe(word)}
            parts.append(f"c.search LIKE part_pattern(%(probe_{number})s)")
            if _probe(word) != word:
                parts.append(f"position(fold_text(%(word_{number})s) IN c.search) > 0")
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
                f"JOIN customers c ON {MINE.format('c')} AND c.customer_id = b.customer_id"
            )
            here = "b"
        return (
            f"SELECT {FOUND}, {here}.{self.order.key}, "
            f"CASE WHEN {here}.place = %(rows)s THEN {self.fits} ELSE true END AS fits, {here}.place "
            f"FROM {walked} WHERE ({self.fits}) OR {here}.place = %(rows)s "
            f"ORDER BY {self.sorted_by(here)} LIMIT %(limit)s"
        )

    def matching(self, columns: str, after: tuple[Any, ...] | None) -> str:
        """All customers that fit, in no order. Balances from 1 on are looked up by their index."""
        wallets = ""
        parts = [MINE.format("c"), self.fits]
        reach = self.reach("b" if self.order.source == "wallets" else "c", after)
        if self.order.source == "wallets" or (self.lookup.balance_gte or 0) > 0:
            wallets = "JOIN wallets b ON " + " AND ".join(
                [
                    MINE.format("b"),
                    "b.customer_id = c.customer_id",
                    "b.currency = %(currency)s",
                    *self._bounds("b.balance_minor", "balance"),
                ]
            )
        return f"SELECT {columns} FROM customers c {wallets} WHERE {' AND '.join([*parts, reach])}"

    def find(self, after: tuple[Any, ...] | None, matches_max: int) -> str:
        """A page of all matches, if they are few: `found` says how many there are, up to one too many."""
        self.values |= {"matches": matches_max + 1, "limit": self.lookup.limit + 1}
        key = "b.balance_minor" if self.order.source == "wallets" else f"c.{self.order.key}"
        found = self.matching(f"c.*{', ' + key if key[0] == 'b' else ''}", after)
        return (
            f"SELECT {FOUND}, c.{self.order.key}, c.found FROM ("
            f"SELECT m.*, count(*) OVER () AS found FROM ({found} LIMIT %(matches)s) m) c "
            f"ORDER BY {self.sorted_by('c')} LIMIT %(limit)s"
        )


def metadata_forms(name: str, text: str) -> list[str]:
    """What a query says as text may be a text, a number or a boolean in the metadata."""
    literals = [json.dumps(text)]
    if text in ("true", "false") or _NUMBER.fullmatch(text):
        literals.append(text)
    return [f"{{{json.dumps(name)}: {literal}}}" for literal in literals]


def _probe(word: str) -> str:
    """What the trigram index is asked for: of an id or an address its rarest part, for each trigram has a list to read."""
    if _ID.fullmatch(word):
        return word[-_PROBE_LENGTH:]
    local, at, _ = word.partition("@")
    return local[:_PROBE_LENGTH] if at and len(local) >= _PROBE_LENGTH else word


def _of_cursor(order: _Order, place: tuple[Any, ...]) -> tuple[Any, ...]:
    key, customer_id = place
    return (moment(key) if order.key == "created_at" else key, customer_id)
