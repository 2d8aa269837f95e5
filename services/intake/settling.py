"""What the ledger is asked, shard by shard, and what is checked off once its outcome is known.

A shard that gives no outcome keeps the others waiting for a moment, once: what it was asked waits apart, in memory, and
holds the checkpoints before its records. It is asked a little at a time then: one that is only slow gets no copies, and one
that is away no flood. What is behind the checkpoints is read and asked again after a restart, which changes nothing.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from events.replies import Outcome, Reply
from services.intake import metrics
from services.intake.joining import Joined
from services.intake.table import Table, Waiting
from services.intake.together import ATTRIBUTES_BYTES, Ledger
from services.reading import Record

log = structlog.get_logger()

AHEAD_MAX = 2
"""Batches that have been asked and wait for the one before to be checked off."""
PATIENCE_SECONDS = 2.0
"""So long a batch waits for a shard that has been answering."""
LATE_BYTES_MAX = 8 * 1024 * 1024
"""Of commands without an outcome; with more nothing is taken."""
LATE_ASKED_MAX = 50
"""Of them, at a time and shard."""
FINAL = {Outcome.APPLIED, Outcome.REFUSED, Outcome.UNCHANGED}

Bury = Callable[[Record, str, str], Awaitable[None]]


class Batch(NamedTuple):
    """Records on their way: what the ledger is asked, and what is checked off once every outcome is known."""

    joined: Sequence[Joined]
    next_offsets: dict[int, int]
    done: Sequence[Waiting]
    began: float


@dataclass
class Part:
    """What one shard is asked of a batch, or will be: `replies` is None until then."""

    shard: int
    joined: Sequence[Joined]
    replies: "asyncio.Task[list[Reply]] | None" = None

    @property
    def size(self) -> int:
        return sum(len(one.command.data) + ATTRIBUTES_BYTES for one in self.joined)

    @property
    def answered(self) -> bool:
        return self.replies is not None and self.replies.done()


class Settling:
    """`bury` puts a record aside."""

    def __init__(self, table: Table, ledger: Ledger, bury: Bury) -> None:
        self._table = table
        self._ledger = ledger
        self._bury = bury
        self._asked: asyncio.Queue[tuple[Batch, list[Part]]] = asyncio.Queue(AHEAD_MAX)
        self._late: list[Part] = []
        self._room = asyncio.Event()
        self._room.set()
        self._reached: dict[int, int] = {}
        """The offset behind the last record of a batch that waits for nothing but late shards."""
        self.next_offsets: dict[int, int] = {}
        self.last_progress = time.monotonic()
        self.leaving: set[tuple[int, int]] = set()
        """Places of what is overdue and on its way: the table holds it until it is checked off."""

    def go_on_from(self, next_offsets: Mapping[int, int]) -> None:
        """What is read now comes from there."""
        self.next_offsets, self._reached = dict(next_offsets), dict(next_offsets)

    def late(self) -> dict[int, int]:
        """How many facts have no outcome, of the shards that give none."""
        found: Counter[int] = Counter()
        for part in self._late:
            found[part.shard] += len(part.joined)
        return dict(sorted(found.items()))

    def stands(self) -> bool:
        """Whether nothing can be taken until there are outcomes."""
        return self._asked.full() or not self._room.is_set()

    async def begin(self, batch: Batch) -> None:
        """Waits while enough are on their way, or too much has no outcome."""
        await self._room.wait()
        homes: defaultdict[int, list[Joined]] = defaultdict(list)
        for one in batch.joined:
            homes[self._ledger.shard(one.command)].append(one)
        parts = [Part(shard, joined) for shard, joined in homes.items()]
        late = self.late()
        for part in parts:
            if part.shard not in late:
                self._ask(part)
        await self._asked.put((batch, parts))

    def _ask(self, part: Part) -> None:
        part.replies = asyncio.create_task(self._ledger.ask([one.command for one in part.joined]))

    def _ask_late(self) -> None:
        """Of each late shard of which nothing is out the oldest, together up to a bound."""
        full = {part.shard for part in self._late if part.replies is not None}
        asking: dict[int, Part] = {}
        late: list[Part] = []
        for part in self._late:
            first = asking.get(part.shard)
            if part.shard in full or first is None:
                late.append(part)
                if part.shard not in full:
                    asking[part.shard] = part
            elif len(first.joined) + len(part.joined) <= LATE_ASKED_MAX:
                first.joined = [*first.joined, *part.joined]
            else:
                late.append(part)
                full.add(part.shard)
        self._late = late
        for part in asking.values():
            self._ask(part)

    async def settle_forever(self) -> None:
        """Checks batches off in their order, while the next ones are joined and asked."""
        coming = asyncio.ensure_future(self._asked.get())
        try:
            while True:
                late = [part.replies for part in self._late if part.replies is not None]
                await asyncio.wait([coming, *late], return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    batch, parts = coming.result()
                    coming = asyncio.ensure_future(self._asked.get())
                    await self._settle_batch(batch, parts)
                await self._settle_late()
        finally:
            coming.cancel()

    async def _settle_batch(self, batch: Batch, parts: Sequence[Part]) -> None:
        known = self.late()
        asked = [part.replies for part in parts if part.replies is not None and part.shard not in known]
        if asked:
            await asyncio.wait(asked, timeout=PATIENCE_SECONDS)
        answered = [part for part in parts if part.answered]
        late = [part for part in parts if not part.answered]
        if new := sorted({part.shard for part in late if part.replies is not None}.difference(known)):
            log.warning("no_outcome", shards=new)
        self._late += late
        self._ask_late()
        self._make_room()
        self._reached |= batch.next_offsets
        waiting = {one.waiting for part in late for one in part.joined}
        await self._settle(answered, [one for one in batch.done if one not in waiting])
        metrics.BATCH_SECONDS.observe(time.monotonic() - batch.began)

    async def _settle_late(self) -> None:
        answered = [part for part in self._late if part.answered]
        if not answered:
            return
        self._late = [part for part in self._late if not part.answered]
        self._ask_late()
        self._make_room()
        done = [one.waiting for part in answered for one in part.joined if one.waiting is not None]
        await self._settle(answered, done)

    async def _settle(self, parts: Sequence[Part], done: Sequence[Waiting]) -> None:
        """Their outcomes are known; what the ledger refused lies aside before it is checked off."""
        for part in parts:
            assert part.replies is not None, "it was answered"
            replies = part.replies.result()
            metrics.count(metrics.RECORDS, (reply.outcome.value for reply in replies))
            for one, reply in zip(part.joined, replies, strict=True):
                if reply.outcome not in FINAL:
                    code = reply.code or reply.outcome.value.upper()
                    await self._bury(one.record, code, "the ledger said no")
        places = self._places()
        if places or done:
            await self._table.check_off(places, done)
        self.next_offsets |= places
        self.leaving.difference_update(one[:2] for one in done)
        if parts or places or done:
            self.last_progress = time.monotonic()
            metrics.LAST_PROGRESS.set_to_current_time()

    def _places(self) -> dict[int, int]:
        """Where partitions are now and were not before: up to the first record that has no outcome."""
        places = dict(self._reached)
        for record in (one.record for part in self._late for one in part.joined if one.waiting is None):
            places[record.shard] = min(record.offset, places.get(record.shard, record.offset))
        return {one: place for one, place in places.items() if place != self.next_offsets.get(one)}

    def _make_room(self) -> None:
        if sum(part.size for part in self._late) < LATE_BYTES_MAX:
            self._room.set()
        else:
            self._room.clear()
