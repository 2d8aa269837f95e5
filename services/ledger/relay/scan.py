"""Reading `ledger.events` after a take-over or a failure: how far it holds what the store holds, byte for byte."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from events.codec import Malformed, decode_envelope
from services.ledger.failures import Damaged
from services.ledger.ports import Broker, Store, StoredRow

log = structlog.get_logger()

RUN_EVENTS_MAX = 500


@dataclass
class Published:
    """`committed` is in the store, `published` in the topic, its record at `published_offset`."""

    shard: int
    committed: int
    published: int
    published_offset: int


class Scan:
    """What is told of the topic is only believed where its record is found again."""

    def __init__(self, broker: Broker, store: Store) -> None:
        self._broker = broker
        self._store = store

    async def advance(self, shards: Mapping[int, Published]) -> set[int]:
        """Move each to the highest contiguous sequence in the topic; the shards whose topic does not fit the store.

        Reads on from the last known record. Where that record is not there any more, reads all of the shard. Nor does a
        store fit that cannot be read where the topic is compared with it, or where the topic is to be continued. Stops
        where a shard diverges: what follows may be long, and all shards wait for it.
        """
        lost, diverged = await self._read(shards)
        if lost:
            log.error("topic_lost_events", shards=sorted(lost), action="reading them from the beginning")
            for shard in lost:
                shards[shard].published, shards[shard].published_offset = 0, -1
            diverged |= (await self._read({shard: shards[shard] for shard in lost}))[1]
        for shard in sorted(shards.keys() - diverged):
            if not await self._continues(shards[shard]):
                diverged.add(shard)
        return diverged

    async def _read(self, shards: Mapping[int, Published]) -> tuple[set[int], set[int]]:
        """Shards whose last known record is not where it was, and shards that diverged."""
        lost = {shard for shard, state in shards.items() if state.published}
        over: set[int] = set()
        known: dict[int, dict[int, bytes]] = {shard: {} for shard in shards}
        starts = {shard: max(0, state.published_offset) for shard, state in shards.items()}
        async for shard, offset, value in self._broker.events_from(starts, unwanted=over):
            state, sequence = shards[shard], _sequence(value)
            if shard in lost:
                if (offset, sequence) != (state.published_offset, state.published):
                    if offset >= state.published_offset:
                        over.add(shard)
                    continue  # nothing is judged before the known record was found again
                lost.discard(shard)
            fits = sequence is not None and sequence <= state.published + 1
            if sequence is None or not fits or not await self._same(state, known[shard], sequence, value):
                over.add(shard)
            elif sequence == state.published + 1:
                state.published, state.published_offset = sequence, offset
        return lost, over - lost

    async def _same(self, state: Published, known: dict[int, bytes], sequence: int, value: bytes) -> bool:
        """Whether the store holds these bytes at this sequence; reads the store in runs."""
        if not 0 < sequence <= state.committed:
            return False
        if sequence not in known:
            known.clear()
            try:
                rows = await stored_run(self._store, state.shard, sequence - 1)
            except Damaged as error:
                _tell(state.shard, error)
                return False
            known.update({row.sequence: row.value for row in rows})
        return known[sequence] == value

    async def _continues(self, state: Published) -> bool:
        """Whether what the topic lacks can be read: what lies behind it would never be published."""
        try:
            await check_stored(self._store, state.shard, state.published, state.committed)
        except Damaged as error:
            _tell(state.shard, error)
            return False
        return True


async def stored_run(store: Store, shard: int, after: int) -> Sequence[StoredRow]:
    """What the store has next, one event at least. Raises Damaged."""
    rows = await store.events_after(shard, after, RUN_EVENTS_MAX)
    if not rows:
        raise Damaged(after + 1)
    return rows


async def check_stored(store: Store, shard: int, after: int, until: int) -> None:
    """Raises Damaged: one of these events."""
    while after < until:
        after = (await stored_run(store, shard, after))[-1].sequence


def _tell(shard: int, error: Damaged) -> None:
    log.error("stored_event_damaged", shard=shard, why=str(error))


def _sequence(value: bytes) -> int | None:
    with contextlib.suppress(Malformed):
        return int(decode_envelope(value).sequence)
    return None
