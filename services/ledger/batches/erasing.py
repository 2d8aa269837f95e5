"""Erasing a customer: the data key is destroyed first, then the fact is recorded; both may be repeated.

Closed is for good, and an erasure is decided on committed state and read receipts only. So even a worker that lost its
shards unknowingly destroys no key that its successor would have kept.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import structlog

from events.commands import EraseCustomer
from events.facts import CustomerErased
from services.ledger.batches.admission import Asked, One
from services.ledger.batches.batch import Batch
from services.ledger.ports import StoredRow
from services.ledger.world import World

log = structlog.get_logger()

PUBLISHED_SECONDS = 2.0


def erasing(one: One) -> bool:
    """Whether a data key may go."""
    return isinstance(one, Asked) and isinstance(one.ask, EraseCustomer)


def erasures(events: Iterable[StoredRow]) -> list[StoredRow]:
    """Those before which, to become true, a data key goes: that of their stream."""
    return [event for event in events if event.type == CustomerErased.TYPE]


async def may_erase(world: World, batch: Batch, read: Iterable[One]) -> bool:
    """Whether the closing that allowed it cannot be lost with the store: the topic has it. Else the record waits."""
    shards = {event.shard for event in erasures(batch.events)}
    if not shards:
        return True
    with suppress(TimeoutError):
        async with asyncio.timeout(PUBLISHED_SECONDS):
            await world.relay.wait_published(
                {shard: world.ownership.owned[shard].sequence for shard in shards}
            )
            return True
    first = {one.record.shard: one.record.offset for one in read if isinstance(one, Asked) and erasing(one)}
    log.error("erasure_waits", shards=sorted(shards), why="events cannot be published")
    world.ownership.hold(first, asyncio.get_running_loop().time())
    return False
