"""Who is on the blocklist, or was, since when and why?"""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType

from events.facts import CustomerBlocked, CustomerUnblocked
from events.personal import Personal
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement, statement


class BlocklistEntry(Struct, kw_only=True):
    """A row, or, with `made` false, what changed of one: UNSET says nothing."""

    business_id: str
    mode: str
    block_id: str
    customer_id: str
    shard: int
    made: bool
    created_at: str
    identifier: str
    reason: str | UnsetType = UNSET
    unblocked_at: str | UnsetType = UNSET


INSERT = """
    INSERT INTO blocklist_entries (business_id, mode, block_id, customer_id, shard, identifier, reason, created_at,
                                   unblocked_at)
    SELECT business_id, mode, block_id, customer_id, shard, identifier, reason, created_at, unblocked_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, block_id text, customer_id text, shard int, identifier text, reason text,
        created_at timestamptz, unblocked_at timestamptz)
"""

UPDATE = """
    UPDATE blocklist_entries AS old SET
        reason = coalesce(new.reason, old.reason), unblocked_at = coalesce(new.unblocked_at, old.unblocked_at)
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, block_id text, reason text, unblocked_at timestamptz)
    WHERE old.business_id = new.business_id AND old.mode = new.mode AND old.block_id = new.block_id
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """At most one insert and one update, whatever the batch holds."""
    folded = fold(events)
    if made := [entry for entry in folded if entry.made]:
        yield statement(INSERT, made)
    if changed := [entry for entry in folded if not entry.made]:
        yield statement(UPDATE, changed)


def fold(events: Sequence[Event]) -> list[BlocklistEntry]:
    """One row or change per block: who is blocked again keeps the entry and gets the newer reason."""
    entries: dict[tuple[str, str, str], BlocklistEntry] = {}
    for event in events:
        fact, envelope = event.fact, event.envelope
        if not isinstance(fact, CustomerBlocked | CustomerUnblocked) or fact.block_id is UNSET:
            continue
        personal = Personal() if fact.personal is UNSET else fact.personal
        entry = entries.setdefault(
            (envelope.businessid, envelope.mode, fact.block_id),
            BlocklistEntry(
                business_id=envelope.businessid,
                mode=envelope.mode,
                block_id=fact.block_id,
                customer_id=envelope.subject,
                shard=event.shard,
                made=isinstance(fact, CustomerBlocked) and fact.since is UNSET,
                created_at=envelope.time,
                identifier=envelope.subject if personal.identifier is UNSET else personal.identifier,
            ),
        )
        if isinstance(fact, CustomerUnblocked):
            entry.unblocked_at = envelope.time
        elif personal.reason is not UNSET:
            entry.reason = personal.reason
    return list(entries.values())
