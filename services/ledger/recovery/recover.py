"""A store behind its topic takes the tail back: the same bytes, fenced like a worker's batch, and never over others.

Receipts, positions and keyless attempts are a projection of the events, so they come back with them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from events.codec import Malformed, decode_envelope, digest
from services.ledger.beating import beating
from services.ledger.failures import Damaged
from services.ledger.ports import Broker, ShardRow, Store
from services.ledger.recovery.report import Report
from services.ledger.recovery.tail import Tail, TailRefused
from services.ledger.relay.scan import check_stored, stored_run

CLAIM_SECONDS = 15.0
"""A worker that refuses a shard looks at it again each 10 s, and holds it meanwhile."""
CLAIM_RETRY_SECONDS = 0.5
SETTLE_SECONDS = 2.0
"""So long after its start a worker has said which shards it refuses."""


class Keys(Protocol):
    """What is asked of the key database."""

    async def unknown(self, owners: Iterable[UUID]) -> set[UUID]:
        """Those that it has never heard of: neither a key nor the mark of an erased one."""
        ...


"""How many records of the topic were read."""


@dataclass
class Recovery:
    """One run over all shards; `dry`: looks and writes nothing."""

    store: Store
    broker: Broker
    keys: Keys
    shards: int
    dry: bool = False
    progress: Callable[[int], None] = lambda _: None
    claim_seconds: float = CLAIM_SECONDS
    _tails: dict[int, Tail] = field(default_factory=dict)
    _read: int = 0

    async def run(self) -> Report:
        """
        Raises:
            OwnershipLost: somebody took a shard meanwhile; what was committed is kept, run again.
            WrongStore, psycopg.Error, KafkaError
        """
        await self.store.open()
        try:
            rows, busy = await self._claim()
            self._tails = {row.shard: Tail(row) for row in rows}
            await beating(self.store.peers, self._take({row.shard: row for row in rows}))
            await self.store.release(rows if self.dry else [tail.row for tail in self._tails.values()])
        finally:
            await self.store.close()
        keyless = await self._keyless()
        owned = sorted(set(range(self.shards)) - self._tails.keys() - busy)
        shards = [tail.recovered() for _, tail in sorted(self._tails.items())]
        return Report(shards, owned, sorted(busy), keyless)

    async def _claim(self) -> tuple[list[ShardRow], set[int]]:
        """All shards that no worker holds, and those that one still holds though it refuses them."""
        found: list[ShardRow] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            missing = set(range(self.shards)) - {row.shard for row in found}
            found += await self.store.claim(sorted(missing), len(missing)) if missing else []
            missing -= {row.shard for row in found}
            # keeps the session, too; a heartbeat would make us a worker with a share
            busy = missing & (await self.store.peers()).refused
            patience = self.claim_seconds if busy else SETTLE_SECONDS
            if not missing or loop.time() - began > patience:
                return found, busy
            await asyncio.sleep(CLAIM_RETRY_SECONDS)

    async def _take(self, rows: Mapping[int, ShardRow]) -> None:
        """From the last record known to be published; where that is not there any more, from the beginning."""
        if not rows:
            return  # a reader of nothing does not end in order
        await self._follow({shard: max(0, row.published_offset) for shard, row in rows.items()})
        lost = [shard for shard, tail in self._tails.items() if not tail.placed and not tail.refused]
        if lost:
            for shard in lost:
                self._tails[shard] = Tail(rows[shard], anywhere=True)
            await self._follow(dict.fromkeys(lost, 0))
        for tail in self._tails.values():
            if not tail.refused:
                await self._check_unpublished(tail)

    async def _follow(self, starts: Mapping[int, int]) -> None:
        refused: set[int] = set()
        async for shard, offset, value in self.broker.events_from(starts, unwanted=refused):
            tail = self._tails[shard]
            self._read += 1
            try:
                await self._take_one(tail, offset, value)
            except (TailRefused, Damaged) as error:
                tail.refuse(str(error))
                refused.add(shard)
        for tail in self._tails.values():
            await self._commit(tail)

    async def _take_one(self, tail: Tail, offset: int, value: bytes) -> None:
        try:
            envelope = decode_envelope(value)
        except Malformed as error:
            raise TailRefused(f"the record at offset {offset} is no event") from error
        if not tail.place(offset, envelope):
            return
        if (sequence := int(envelope.sequence)) <= tail.row.sequence:
            tail.compare(sequence, value, await self._link(tail, sequence))
            return
        if tail.full() and tail.begins(envelope):
            await self._commit(tail)
        tail.append(offset, envelope, value)

    async def _link(self, tail: Tail, sequence: int) -> bytes | None:
        """The hash of what we have at this sequence; None where a dry run has not kept it. Raises Damaged."""
        if sequence in tail.recent:
            return tail.recent[sequence]
        if self.dry and sequence > tail.stored:
            return None
        if sequence not in tail.known:
            rows = await stored_run(self.store, tail.row.shard, sequence - 1)
            tail.known = {row.sequence: row.value for row in rows}
        return digest(tail.known[sequence])

    async def _check_unpublished(self, tail: Tail) -> None:
        """Only the store has it: what is damaged there, nothing brings back."""
        try:
            await check_stored(self.store, tail.row.shard, tail.published, tail.stored)
        except Damaged as error:
            tail.refuse(str(error))

    async def _commit(self, tail: Tail) -> None:
        if tail.pending and not self.dry:
            await self.store.commit(tail.commit())
        tail.committed_all()
        self.progress(self._read)

    async def _keyless(self) -> list[str]:
        """A missing key is told, never made up: a second one would not open what the first has sealed."""
        first: dict[UUID, str] = {}
        for tail in self._tails.values():
            first |= tail.sealed
        unknown = await self.keys.unknown(first) if first else set()
        return sorted(first[owner] for owner in unknown)
