"""Which of the records that arrived come next: repeats are skipped, nothing else is."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from events.codec import Malformed, decode_envelope, decode_fact, digest
from events.envelope import Envelope
from events.ids import owner_of
from services.projections.read_models.event import Event
from services.reading import Record


class Checkpoint(NamedTuple):
    """How far the read models are in a shard; `head` is the hash of the last event's bytes, empty before the first."""

    sequence: int
    head: bytes
    next_offset: int


class Break(NamedTuple):
    """Why a shard cannot go on: the event at `sequence` is missing, unreadable, or not what its successor says."""

    shard: int
    sequence: int
    reason: str


class Reading(NamedTuple):
    """The events that come next, in order per shard, and the first break of each shard that has one."""

    events: list[Event]
    breaks: dict[int, Break]

    def owners(self) -> set[UUID]:
        """Whose keys open what is sealed."""
        return {owner_of(e.envelope.tenant, e.envelope.subject) for e in self.events if e.fact.sealed}

    def checkpoints(self) -> dict[int, Checkpoint]:
        """Where each shard of the batch is after these events."""
        return {e.shard: Checkpoint(e.sequence, e.digest, e.next_offset) for e in self.events}

    def times(self) -> dict[int, str]:
        """When the last event of each shard was recorded."""
        return {e.shard: e.envelope.time for e in self.events}

    def until(self, found: Break) -> "Reading":
        """Without that event and its successors."""
        kept = [e for e in self.events if e.shard != found.shard or e.sequence < found.sequence]
        return Reading(kept, self.breaks | {found.shard: found})


def read(seen: Mapping[int, Checkpoint], records: Iterable[Record]) -> Reading:
    """Follow the chain of each shard from its checkpoint; after a break nothing of that shard is taken."""
    heads = dict(seen)
    reading = Reading([], {})
    for record in records:
        here = heads[record.shard]
        if record.shard in reading.breaks:
            continue
        try:
            event = _next(here, record)
        except Malformed as error:
            reason = str(error).replace("\x00", "")  # which PostgreSQL does not store
            reading.breaks[record.shard] = Break(record.shard, here.sequence + 1, reason)
            continue
        if event is not None:
            reading.events.append(event)
            heads[record.shard] = Checkpoint(event.sequence, event.digest, event.next_offset)
    return reading


def _next(here: Checkpoint, record: Record) -> Event | None:
    """The event of this record; None for one that we have. Raises Malformed for any other."""
    envelope = decode_envelope(record.value)
    if envelope.shard != record.shard:
        raise Malformed(f"an event of shard {envelope.shard} in partition {record.shard}")
    sequence = int(envelope.sequence)
    if sequence <= here.sequence:
        return None
    if sequence != here.sequence + 1:
        raise Malformed(f"a gap: the next event found is {sequence}")
    _check_link(here, envelope)
    link = digest(record.value)
    return Event(record.shard, sequence, record.offset + 1, link, envelope, decode_fact(envelope))


def _check_link(here: Checkpoint, envelope: Envelope) -> None:
    """The first event of a shard chains to its genesis, which names a ledger that read models need not know."""
    first = here.sequence == 0 and not here.head
    if not first and envelope.previoushash != here.head.hex():
        raise Malformed("the chain is broken: it names another predecessor than the one we have")
