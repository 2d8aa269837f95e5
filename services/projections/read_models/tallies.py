"""How many customers and ledger entries has a tenant? Counting rows takes the longer, the more there are."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from events.facts import CustomerRegistered, Movement
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement, statement


class Tally(Struct, kw_only=True):
    """What a batch adds to a row."""

    shard: int
    business_id: str
    mode: str
    customers: int = 0
    entries: int = 0


ADD = """
    INSERT INTO tallies AS old (shard, business_id, mode, customers, entries)
    SELECT shard, business_id, mode, customers, entries
    FROM json_to_recordset(%s::json) AS new (
        shard int, business_id text, mode text, customers bigint, entries bigint)
    ON CONFLICT (business_id, mode, shard) DO UPDATE SET
        customers = old.customers + excluded.customers, entries = old.entries + excluded.entries
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if rows := fold(events):
        yield statement(ADD, rows)


def fold(events: Sequence[Event]) -> list[Tally]:
    tallies: dict[tuple[int, str, str], Tally] = {}
    for event in events:
        if not isinstance(event.fact, CustomerRegistered | Movement):
            continue
        key = (event.shard, event.envelope.businessid, event.envelope.mode)
        tally = tallies.setdefault(key, Tally(shard=key[0], business_id=key[1], mode=key[2]))
        if isinstance(event.fact, CustomerRegistered):
            tally.customers += 1
        else:
            tally.entries += 1
    return list(tallies.values())
