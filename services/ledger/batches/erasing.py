"""Erasing a customer: the data key is destroyed first, then the fact is recorded; both may be repeated.

Closed is for good, and an erasure is decided on committed state and read receipts only. So even a worker that lost its
shards unknowingly destroys no key that its successor would have kept.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

import structlog

from events.commands import EraseCustomer
from events.facts import CustomerErased
from services.ledger.batches.admission import Asked, One
from services.ledger.batches.batch import Batch
from services.ledger.ownership import Held
from services.ledger.ports import CommandRecord, StoredRow
from services.ledger.world import World

log = structlog.get_logger()

PUBLISHED_SECONDS = 2.0


def erasing(one: One) -> bool:
    """Whether a data key may go."""
    return isinstance(one, Asked) and isinstance(one.ask, EraseCustomer)


def erasures(events: Iterable[StoredRow]) -> list[StoredRow]:
    """Those before which, to become true, a data key goes: that of their stream."""
    return [event for event in events if event.type == CustomerErased.TYPE]


async def may_erase(world: World, batch: Batch, records: Sequence[CommandRecord]) -> bool:
    """Whether the closing that allowed it cannot be lost with the store: the topic has it. Else the record waits.

    All shards wait for this answer: it comes at once where nothing of this one has been published for so long already.
    """
    if not erasures(batch.events):
        return True
    [(shard, offset, _)] = records
    with suppress(TimeoutError):
        async with asyncio.timeout(PUBLISHED_SECONDS - world.relay.lag_seconds(shard)):
            await world.relay.wait_published({shard: world.ownership.owned[shard].sequence})
            return True
    log.error("erasure_waits", shard=shard, why="events cannot be published")
    world.ownership.hold({shard: Held(offset, unkept=False)}, asyncio.get_running_loop().time())
    return False
