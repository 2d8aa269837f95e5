"""Commits to try a store with."""

import asyncio
from typing import NamedTuple
from uuid import UUID, uuid5

from msgspec.structs import replace

from events.codec import digest
from services.ledger.batches.receipts import ReceiptRow
from services.ledger.ports import (
    AttemptRow,
    Commit,
    ShardRow,
    Store,
    StoredRow,
)
from tests.contract.stores import SHARDS, StoreLab
from tests.factories import EventFactory

EVERY = list(range(SHARDS))
NOBODY = UUID(int=0)
NOW = 1_790_000_000_000_000


class Written(NamedTuple):
    """A transaction, and what it says."""

    commit: Commit
    rows: list[ShardRow]


def transaction(*rows: ShardRow, count: int = 1, mark: str = "a", attempt: int | None = None) -> Written:
    """`count` events with their receipts in each shard, from these rows."""
    after, events, receipts, attempts = [], [], [], []
    for row in rows:
        stream = uuid5(NOBODY, f"{mark} {row.shard}")
        for number in range(1, count + 1):
            sequence = row.sequence + number
            value = event(row.shard, sequence)
            key = digest(f"{mark} {row.shard} {sequence}".encode())
            events.append(StoredRow(stream, number, "wallet.x.v1", value, row.shard, sequence, b"cus_a"))
            receipts.append(ReceiptRow(stream, "api", key, "1:ab", row.shard, sequence, f"c{sequence}", 7))
            if attempt is not None:
                attempts.append(AttemptRow(row.shard, sequence, stream, "1:ab", attempt, NOW, f"c{sequence}"))
        after.append(advanced(row, count))
    return Written(Commit(rows, after, events, receipts, attempts), after)


def advanced(row: ShardRow, count: int = 1) -> ShardRow:
    sequence = row.sequence + count
    return replace(
        row,
        position=row.position + 10,
        position_command_id=f"c{sequence}",
        sequence=sequence,
        head=digest(event(row.shard, sequence)),
        last_time=NOW + sequence,
    )


def event(shard: int, sequence: int) -> bytes:
    """A stored event: the store reads its customer for publishing and takes everything else as bytes."""
    factory = EventFactory(f"contract {shard} {sequence}", shards=1)
    return factory.registered("cus_a").value


async def freed(store: Store, *shards: int) -> list[ShardRow]:
    """Claimed once the server has noticed that their last owner hung up."""
    rows: list[ShardRow] = []
    async with asyncio.timeout(10):
        while len(rows) < len(shards):
            missing = [shard for shard in shards if shard not in {row.shard for row in rows}]
            rows += await store.claim(missing, len(missing))
            await asyncio.sleep(0.01)
    return rows


async def opened(lab: StoreLab, *shards: int) -> tuple[Store, list[ShardRow]]:
    store = lab.session()
    await store.open()
    rows = await store.claim(shards or EVERY, len(shards or EVERY))
    return store, sorted(rows, key=lambda row: row.shard)
