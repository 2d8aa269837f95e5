"""Store, broker and relay as one owner sees them."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from services.ledger.ownership import Ownership
from services.ledger.ports import Peers, ShardRow

SHARDS = 8
NOW = 100.0
NONE: frozenset[int] = frozenset()
ALONE = Peers(1, 0, NONE)
ONE_OF_TWO = Peers(2, 0, NONE)


def row(shard: int, position: int = -1, command: str = "") -> ShardRow:
    return ShardRow(shard, 1, position, command, 0, b"", 0, 0, -1)


class Around:
    """Store, broker and relay in one; `did` is what was asked of them that has an effect."""

    def __init__(self, live: Peers = ALONE) -> None:
        self.live = live
        self.free = {shard: row(shard) for shard in range(SHARDS)}
        self.diverged: set[int] = set()
        self.headless: set[int] = set()
        self.log: dict[int, bytes] = {}
        self.did: list[tuple[Any, ...]] = []
        self.beaten = 0
        self.scan_seconds = 0.0
        self.owner = Ownership(self, self, self, SHARDS, self.beating)  # type: ignore[arg-type]

    async def beating(self, work: Awaitable[Any]) -> Any:
        self.beaten += 1
        return await work

    async def peers(self) -> Peers:
        return self.live

    async def claim(self, shards: Sequence[int], count: int) -> list[ShardRow]:
        self.did.append(("claim", list(shards), count))
        return [self.free.pop(shard) for shard in [s for s in shards if s in self.free][:count]]

    async def release(self, rows: Sequence[ShardRow]) -> None:
        self.did.append(("release", list(rows)))
        self.free |= {one.shard: one for one in rows}

    async def heartbeat(self, rows: Sequence[ShardRow], refused: Collection[int], forget_before: int) -> int:
        self.did.append(("heartbeat", list(rows), set(refused), forget_before))
        return 77

    async def take_over(self, rows: Sequence[ShardRow]) -> list[ShardRow]:
        await asyncio.sleep(self.scan_seconds)
        return [one for one in rows if one.shard not in self.diverged]

    def published(self, shard: int) -> tuple[int, int]:
        return 10 + shard, 20 + shard

    def assign(self, starts: Mapping[int, int]) -> None:
        self.did.append(("assign", dict(starts)))

    async def leaderless(self, shards: Collection[int]) -> set[int]:
        return self.headless & set(shards)

    async def commands_at(self, places: Mapping[int, int]) -> dict[int, bytes]:
        self.did.append(("at", dict(places)))
        return {shard: self.log[shard] for shard in places if shard in self.log}

    async def commands_begin(self, shards: Sequence[int]) -> dict[int, int]:
        self.did.append(("begin", list(shards)))
        return dict.fromkeys(shards, 3)

    async def take(self, now: float = NOW) -> bool:
        await self.owner.look(now)
        return await self.owner.take_free(now)

    def told(self, name: str) -> list[tuple[Any, ...]]:
        return [one[1:] for one in self.did if one[0] == name]


def published(one: ShardRow) -> ShardRow:
    return replace(one, published_sequence=10 + one.shard, published_offset=20 + one.shard)
