"""What is forgotten of an erased customer: just what a rebuild would not find any more, because the key is gone.

Later events of theirs seal nothing, so after this nothing personal comes back.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct

from events.facts import CustomerErased
from events.ids import owner_of
from services.projections.event import Event
from services.projections.statement import Statement, statement

BITE = 10_000


class Gone(Struct, kw_only=True):
    """Whose rows lose what was personal; the row of `customers` does so by itself."""

    business_id: str
    mode: str
    customer_id: str


_GONE: LiteralString = "json_to_recordset(%s::json) AS gone (business_id text, mode text, customer_id text)"
_THEIRS: LiteralString = (
    "old.business_id = gone.business_id AND old.mode = gone.mode AND old.customer_id = gone.customer_id"
)
_OBJECTS: tuple[LiteralString, ...] = ("payments", "refunds", "disputes", "subscriptions", "licence_keys")

FORGET: tuple[LiteralString, ...] = (
    f"UPDATE ledger_entries AS old SET reason = NULL FROM {_GONE} WHERE {_THEIRS} AND reason IS NOT NULL",
    f"UPDATE blocklist_entries AS old SET identifier = old.customer_id, reason = NULL FROM {_GONE} WHERE {_THEIRS}",
    f"""
    DELETE FROM licence_key_instances AS instance USING licence_keys AS old, {_GONE}
    WHERE {_THEIRS} AND instance.business_id = old.business_id AND instance.mode = old.mode
        AND instance.customer_id = old.customer_id AND instance.licence_key_id = old.licence_key_id
    """,
    *(f"UPDATE {table} AS old SET object = '{{}}' FROM {_GONE} WHERE {_THEIRS}" for table in _OBJECTS),
)

REASONS = """
    WITH bite AS (
        SELECT shard, sequence FROM ledger_entries
        WHERE business_id = %(business_id)s AND mode = %(mode)s AND customer_id = %(customer_id)s
            AND sequence < %(below)s
        ORDER BY sequence DESC LIMIT %(bite)s
    ), forgotten AS (
        UPDATE ledger_entries AS old SET reason = NULL FROM bite
        WHERE old.shard = bite.shard AND old.sequence = bite.sequence AND reason IS NOT NULL
    )
    SELECT min(sequence) FROM bite
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """After the rows of the same batch are written."""
    if gone := [_gone(event) for event in erased(events)]:
        for query in FORGET:
            yield statement(query, gone)


def forget_early(connection: psycopg.Connection, erased: Sequence[Event]) -> None:
    """Of long histories before the transaction, bite by bite: it would take longer than it may."""
    for event in erased:
        theirs = {"business_id": event.envelope.businessid, "mode": event.envelope.mode}
        below: int | None = event.sequence
        while below is not None:
            values = {**theirs, "customer_id": event.envelope.subject, "below": below, "bite": BITE}
            row = connection.execute(REASONS, values).fetchone()
            below = None if row is None else row[0]


def erased(events: Sequence[Event]) -> list[Event]:
    """Those that say that somebody is."""
    return [event for event in events if isinstance(event.fact, CustomerErased)]


def owners(events: Iterable[Event]) -> set[UUID]:
    """Whose key is to be forgotten."""
    return {owner_of(event.envelope.tenant, event.envelope.subject) for event in events}


def _gone(event: Event) -> Gone:
    envelope = event.envelope
    return Gone(business_id=envelope.businessid, mode=envelope.mode, customer_id=envelope.subject)
