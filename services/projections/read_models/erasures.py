"""What is forgotten of an erased customer: just what a rebuild would not find any more, because the key is gone.

Later events of theirs seal nothing, so after this nothing personal comes back.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from msgspec import Struct

from events.facts import CustomerErased
from events.ids import owner_of
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement, statement

BITE = 2_000
CUSTOMERS_AT_ONCE = 100


class Gone(Struct, kw_only=True):
    """Whose rows lose what was personal; the row of `customers` does so by itself."""

    business_id: str
    mode: str
    customer_id: str


_GONE: LiteralString = "json_to_recordset(%s::json) AS gone (business_id text, mode text, customer_id text)"
_THEIRS: LiteralString = (
    "old.business_id = gone.business_id AND old.mode = gone.mode AND old.customer_id = gone.customer_id"
)


class Long(NamedTuple):
    """A table of which a customer may have very many rows: `place` orders them, as an index does; `first` is before all."""

    table: LiteralString
    forget: LiteralString
    personal: LiteralString
    place: tuple[LiteralString, ...]
    first: tuple[Any, ...]

    @property
    def bite(self) -> LiteralString:
        """Some of one customer's rows, from a place on; the place of the last. The rows are named by where they lie: joined
        by their keys, PostgreSQL compared each of them with all of the customer's."""
        place = ", ".join(self.place)
        return f"""
            WITH bite AS MATERIALIZED (
                SELECT ctid AS lies, {place} FROM {self.table}
                WHERE business_id = %s AND mode = %s AND customer_id = %s AND {self.personal}
                    AND ({place}) > ({", ".join(["%s"] * len(self.place))})
                ORDER BY {place} LIMIT %s
            ), forgotten AS (
                UPDATE {self.table} SET {self.forget} WHERE ctid = ANY(ARRAY(SELECT lies FROM bite))
            )
            SELECT {place} FROM bite ORDER BY {", ".join([f"{name} DESC" for name in self.place])} LIMIT 1
        """


LONG = (
    Long("ledger_entries", "reason = NULL", "reason IS NOT NULL", ("sequence",), (0,)),
    *(
        Long(table, "object = '{}'", "object <> '{}'", ("created_at", key), ("-infinity", ""))
        for table, key in (
            ("payments", "payment_id"),
            ("refunds", "refund_id"),
            ("disputes", "dispute_id"),
            ("subscriptions", "subscription_id"),
            ("licence_keys", "licence_key_id"),
        )
    ),
)

FORGET: tuple[LiteralString, ...] = (
    f"UPDATE blocklist_entries AS old SET identifier = old.customer_id, reason = NULL FROM {_GONE} WHERE {_THEIRS}",
    f"""
    DELETE FROM licence_key_instances AS instance USING licence_keys AS old, {_GONE}
    WHERE {_THEIRS} AND instance.business_id = old.business_id AND instance.mode = old.mode
        AND instance.customer_id = old.customer_id AND instance.licence_key_id = old.licence_key_id
    """,
    *(
        f"UPDATE {one.table} AS old SET {one.forget} FROM {_GONE} WHERE {_THEIRS} AND {one.personal}"
        for one in LONG
    ),
)


def forgetting(erased: Sequence[Event]) -> Iterator[Statement]:
    """After the rows of the same batch are written."""
    if erased:
        yield from _statements([_gone(event) for event in erased])


def forget_early(
    connection: psycopg.Connection, erased: Iterable[Event], progressed: Callable[[], None]
) -> None:
    """Of long histories before the transaction, bite by bite: it would take longer than it may."""
    for event in erased:
        envelope = event.envelope
        who = (envelope.businessid, envelope.mode, envelope.subject)
        for one in LONG:
            place: tuple[Any, ...] | None = one.first
            while place is not None:
                place = connection.execute(one.bite, (*who, *place, BITE), prepare=False).fetchone()
                progressed()


def forget_all(connection: psycopg.Connection) -> None:
    """Of all who are erased, in tables that were filled without it: for each by itself there may be no index yet."""
    rows = connection.execute(
        "SELECT business_id, mode, customer_id FROM customers WHERE erased_at IS NOT NULL"
    )
    gone = [Gone(business_id=business, mode=mode, customer_id=customer) for business, mode, customer in rows]
    for first in range(0, len(gone), CUSTOMERS_AT_ONCE):
        for query, of_these in _statements(gone[first : first + CUSTOMERS_AT_ONCE]):
            connection.execute(query, [of_these])


def erased(events: Sequence[Event]) -> list[Event]:
    """Those that say that somebody is."""
    return [event for event in events if isinstance(event.fact, CustomerErased)]


def owners(events: Iterable[Event]) -> set[UUID]:
    """Whose key is to be forgotten."""
    return {owner_of(event.envelope.tenant, event.envelope.subject) for event in events}


def _statements(gone: Sequence[Gone]) -> Iterator[Statement]:
    return (statement(query, gone) for query in FORGET)


def _gone(event: Event) -> Gone:
    envelope = event.envelope
    return Gone(business_id=envelope.businessid, mode=envelope.mode, customer_id=envelope.subject)
