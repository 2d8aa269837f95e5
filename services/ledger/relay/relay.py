"""From the store to `ledger.events`: the same bytes, per shard in order, one batch outstanding.

After any failure the producer is thrown away and the topic is scanned: with a fresh idempotent producer a failed
batch followed by a queued one would leave a gap that nothing heals. A shard that has no leader then waits for one, and
for its scan; the others go on.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

import structlog

from services.ledger import metrics
from services.ledger.failures import TopicDiverged
from services.ledger.ports import Broker, Clock, ShardRow, Store, StoredRow
from services.ledger.relay import outgoing
from services.ledger.relay.scan import Published, Scan
from services.logs import without_text
from services.pace import Pace

log = structlog.get_logger()

QUEUED_BYTES_MAX = 8 * 1024 * 1024
PACE_SECONDS = 0.008
CALM_SECONDS = 0.1
"""A Kafka batch costs about the same for one event as for ten: here, in the broker, and most of all in its readers."""
LAG_EVENTS_MAX = 10_000
LAG_SECONDS_MAX = 30.0
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass
class _Shard(Published):
    """`queue` starts at `published` + 1."""

    queue: outgoing.Outgoing = field(default_factory=outgoing.Outgoing)
    behind_since: int | None = None
    sending: asyncio.Task[None] | None = None


class Relay:
    """One worker's relay for all of its shards."""

    def __init__(self, broker: Broker, store: Store, clock: Clock) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._scanner = Scan(broker, store)
        self._shards: dict[int, _Shard] = {}
        self._recovery: asyncio.Task[None] | None = None
        self._leaderless: set[int] = set()
        self._awaiting: asyncio.Task[None] | None = None
        self._pace = Pace(PACE_SECONDS, CALM_SECONDS)
        self.diverged: TopicDiverged | None = None

    async def take_over(self, rows: Iterable[ShardRow]) -> list[ShardRow]:
        """Scan the topic for these shards and publish what is missing; those whose topic fits the store.

        A shard whose topic is ahead of the store, or differs from it, is left out: it must not be owned.
        """
        shards = {row.shard: _state(row) for row in rows}
        diverged = await self._scan(shards)
        for shard in diverged:
            log.error("topic_diverged", shard=shard, action="not owned: wallet-ledger recover")
        taken = [row for row in rows if row.shard not in diverged]
        for row in taken:
            self._shards[row.shard] = shards[row.shard]
            self._wake(shards[row.shard])
        return taken

    def enqueue(self, events: Iterable[StoredRow], awaited: bool = False) -> None:
        """Committed events, in order; `awaited`: somebody waits until read models show them.

        What does not fit the queue is read from the store later.
        """
        if awaited:
            self._pace.hurry()
        touched = {}
        room = QUEUED_BYTES_MAX - sum(state.queue.size for state in self._shards.values())
        for event in events:
            state = self._shards[event.shard]
            if room > 0 and state.committed == (state.queue.last or state.published):
                state.queue.put([event])
                room -= len(event.value)
            state.committed = event.sequence
            touched[event.shard] = state
        for state in touched.values():
            self._wake(state)

    def published(self, shard: int) -> tuple[int, int]:
        """Highest contiguous sequence in the topic, and the offset of its record."""
        state = self._shards[shard]
        return state.published, state.published_offset

    def available(self, shard: int) -> bool:
        """False while so much is unpublished that the shard must not grow."""
        waiting = self._shards[shard].committed - self._shards[shard].published
        return waiting <= LAG_EVENTS_MAX and self.lag_seconds(shard) <= LAG_SECONDS_MAX

    def lag_seconds(self, shard: int) -> float:
        """For so long nothing of what it waits with was published."""
        since = self._shards[shard].behind_since
        return 0.0 if since is None else max(0.0, (self._clock.micros() - since) / 1e6)

    async def flush(self, shards: Collection[int], timeout_seconds: float) -> list[int]:
        """Wait until all of these is published, or the time is over; those of which it is."""
        self._pace.hurry()
        sending = [task for shard in shards if (task := self._shards[shard].sending) is not None]
        if sending:
            await asyncio.wait(sending, timeout=timeout_seconds)
        return [shard for shard in shards if self._shards[shard].published == self._shards[shard].committed]

    async def wait_published(self, positions: Mapping[int, int]) -> None:
        """Until each shard's topic holds its sequence (option `acknowledge = store+topic`)."""
        known = {shard: state for shard in positions if (state := self._shards.get(shard))}
        while waited := [state for shard, state in known.items() if state.published < positions[shard]]:
            sending = [state.sending for state in waited if state.sending is not None]
            if sending:
                await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
            else:
                await asyncio.sleep(0.02)

    def forget(self, shards: Iterable[int]) -> None:
        """These are given away, and published to their ends."""
        for shard in shards:
            del self._shards[shard]

    async def stop(self) -> None:
        """Drop all queues; nothing is lost, the store has it."""
        await _cancelled([] if self._recovery is None else [self._recovery])
        await self._halt()
        self._shards.clear()
        self._recovery = None

    def observe(self) -> None:
        """Set the gauges."""
        metrics.RELAY_LAG_EVENTS.set(sum(s.committed - s.published for s in self._shards.values()))
        metrics.RELAY_LAG_SECONDS.set(max(map(self.lag_seconds, self._shards), default=0.0))

    def _wake(self, state: _Shard) -> None:
        if state.published == state.committed:
            state.behind_since = None  # a scan that broke off may have come so far
        elif self.diverged is None:
            if state.behind_since is None:
                state.behind_since = self._clock.micros()
            if state.sending is None and self._recovery is None and state.shard not in self._leaderless:
                state.sending = asyncio.create_task(self._send(state))

    async def _send(self, state: _Shard) -> None:
        try:
            while state.published < state.committed:
                if state.committed - state.published < outgoing.BATCH_EVENTS_MAX:  # else it is company enough
                    await self._pace.turn()
                batch = await self._next_batch(state)
                offset = await self._broker.publish(state.shard, batch)
                self._advance(state, batch[-1].sequence, offset + len(batch) - 1)
                metrics.EVENTS_PUBLISHED.inc(len(batch))
            state.sending = None
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure means: outcome unknown, scan
            metrics.RELAY_FAILURES.inc()
            log.warning("publish_failed", shard=state.shard, **without_text(error))
            state.sending = None
            if self._recovery is None:
                self._recovery = asyncio.create_task(self._recover())

    async def _next_batch(self, state: _Shard) -> list[StoredRow]:
        """What is not in memory is read from the store: where the batch ends is seen by what follows."""
        queue = state.queue
        if queue.last != state.committed and not queue.fills_a_batch:
            after = queue.last or state.published
            queue.put(await self._store.events_after(state.shard, after, outgoing.BATCH_EVENTS_MAX + 1))
        return queue.batch()

    def _advance(self, state: _Shard, sequence: int, offset: int) -> None:
        state.queue.drop(sequence)
        state.published, state.published_offset = sequence, offset
        state.behind_since = None if sequence == state.committed else self._clock.micros()

    async def _recover(self) -> None:
        """New producer, scan of all shards, go on: until it works."""
        for tries in count(1):
            await self._halt()
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS)) - 1])
            try:
                await self._broker.renew_publisher()
                await self._look_again(set(self._shards))
                break
            except Exception as error:  # noqa: BLE001 - Kafka is away in one of many ways; it is tried again
                metrics.RELAY_FAILURES.inc()
                log.warning("relay_recovery_failed", tries=tries, **without_text(error))
        self._recovery = None
        if self._leaderless:
            self._awaiting = asyncio.create_task(self._await_leaders())
        for state in self._shards.values():
            self._wake(state)

    async def _await_leaders(self) -> None:
        while self._leaderless:
            await asyncio.sleep(RETRY_SECONDS[-1])
            try:
                await self._look_again(self._leaderless)
            except Exception as error:  # noqa: BLE001 - as above
                log.warning("leader_awaited", shards=sorted(self._leaderless), **without_text(error))
            for state in self._shards.values():
                self._wake(state)

    async def _look_again(self, shards: set[int]) -> None:
        """Scan those that have a leader: the others stay as unknown as they are."""
        leaderless = await self._broker.leaderless(shards)
        if leaderless:
            log.warning("topic_leaderless", shards=sorted(leaderless), action="published once it has one")
        known = {shard: state for shard, state in self._shards.items() if shard in shards - leaderless}
        diverged = await self._scan(known)
        self._leaderless = leaderless
        if diverged:
            self.diverged = TopicDiverged(f"shards {sorted(diverged)}: the topic does not continue the store")

    async def _halt(self) -> None:
        """Nothing is under way any more."""
        tasks = [state.sending for state in self._shards.values() if state.sending is not None]
        await _cancelled(tasks if self._awaiting is None else [*tasks, self._awaiting])
        for state in self._shards.values():
            state.sending = None
        self._awaiting = None

    async def _scan(self, shards: Mapping[int, _Shard]) -> set[int]:
        """See `Scan.advance`; what is queued is read from the store again."""
        before = {shard: state.published for shard, state in shards.items()}
        for state in shards.values():
            state.queue = outgoing.Outgoing()
        diverged = await self._scanner.advance(shards)
        for state in shards.values():
            state.queue = outgoing.Outgoing()
            if state.published > before[state.shard]:
                self._advance(state, state.published, state.published_offset)
        return diverged


async def _cancelled(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _state(row: ShardRow) -> _Shard:
    return _Shard(row.shard, row.sequence, row.published_sequence, row.published_offset)
