"""Which shards this worker owns: elected by the store, refused where the topic does not fit, read on where it was left."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace

from services.ledger import intake, metrics
from services.ledger.ports import Broker, ShardRow, Store
from services.ledger.relay import Relay

log = structlog.get_logger()
T = TypeVar("T")

REFUSED_SECONDS = 10.0

Beating = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Awaits something long without losing the session."""


class Ownership:
    """`owned` are the committed shard rows; `refused` the shards not to be taken until a moment of the loop's clock."""

    def __init__(self, store: Store, broker: Broker, relay: Relay, shards: int, beating: Beating) -> None:
        self._store = store
        self._broker = broker
        self._relay = relay
        self._shards = shards
        self._beating = beating
        self._untouched: dict[int, int] = {}
        self.owned: dict[int, ShardRow] = {}
        self.refused: dict[int, float] = {}

    async def take_free(self, now: float) -> bool:
        """Claim what nobody holds; whether the log is read from new places since."""
        self.refused = {shard: until for shard, until in self.refused.items() if until > now}
        free = [s for s in range(self._shards) if s not in self.owned and s not in self.refused]
        rows = await self._store.claim(free) if free else []
        if rows:
            await self._take(rows, now)
        metrics.SHARDS_OWNED.set(len(self.owned))
        metrics.SHARDS_REFUSED.set(len(self.refused))
        return bool(rows)

    def merge(self, committed: dict[int, ShardRow]) -> None:
        """Rows as a committed batch left them."""
        self.owned.update(committed)
        for shard in committed:
            self._untouched.pop(shard, None)

    def with_published(self, row: ShardRow) -> ShardRow:
        """The row with what the relay knows now."""
        sequence, offset = self._relay.published(row.shard)
        return replace(row, published_sequence=sequence, published_offset=offset)

    def rows(self) -> list[ShardRow]:
        return [self.with_published(row) for row in self.owned.values()]

    async def _take(self, rows: Sequence[ShardRow], now: float) -> None:
        taken = await self._beating(self._relay.take_over(rows))
        refused = [row for row in rows if row not in taken]
        if refused:
            await self._store.release(refused)
            self.refused |= {row.shard: now + REFUSED_SECONDS for row in refused}
        self._untouched |= await self._beating(self._starts(taken))
        self.owned.update({row.shard: row for row in taken})
        self._broker.assign({row.shard: row.position + 1 for row in self.owned.values()} | self._untouched)
        metrics.TAKEOVERS.inc(len(taken))
        log.info("shards_taken", shards=sorted(row.shard for row in taken))

    async def _starts(self, rows: Sequence[ShardRow]) -> dict[int, int]:
        """Where to read on: behind the last command taken, if the log still has that very command there.

        Otherwise from the log's beginning, which is safe: every command has a receipt or is late.
        """
        found = await self._broker.commands_at({row.shard: row.position for row in rows if row.position >= 0})
        begins = await self._broker.commands_begin([row.shard for row in rows])
        starts = {}
        for row in rows:
            value = found.get(row.shard)
            if value is not None and intake.identity(value) == row.position_command_id:
                starts[row.shard] = row.position + 1
                continue
            starts[row.shard] = begins[row.shard]
            if row.position >= 0:
                metrics.POSITIONS_UNVERIFIED.inc()
                log.error("position_unverified", shard=row.shard, action="reading the log from its beginning")
        return starts
