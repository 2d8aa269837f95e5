"""Erasing a customer: the data key is destroyed first, then the fact is recorded; both may be repeated.

Closed is for good, and an erasure is decided on committed state and read receipts only. So even a worker that lost its
shards unknowingly destroys no key that its successor would have kept.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import psycopg
import structlog

from events.commands import EraseCustomer
from events.facts import CustomerErased
from services.coffin import past_owners
from services.keyring import key_ring
from services.ledger.admission import Asked, One
from services.ledger.batch import Batch
from services.ledger.ports import StoredRow
from services.ledger.world import World
from services.sessions import KEEPALIVES
from services.settings import Settings

log = structlog.get_logger()

PUBLISHED_SECONDS = 2.0
AT_ONCE = 10_000
ERASED = "SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"


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


def check_erased(settings: Settings) -> int:
    """At every start, and after a recovery: no key lives of whom the events call erased, and none of old dead letters.

    A restored backup of the key database brings keys back; how many there were. The time is the database's: a wrong
    clock here would take a key that is in use.
    """
    ring = key_ring(settings)
    dsn = settings.store_dsn.get_secret_value()
    again = 0
    with psycopg.connect(dsn, **KEEPALIVES) as store, store.cursor("erased") as found:
        [(now,)] = store.execute("SELECT now()").fetchall()
        ring.destroy(ring.living(past_owners(now)))
        found.execute(ERASED)
        while rows := found.fetchmany(AT_ONCE):
            if back := ring.living(stream for (stream,) in rows):
                ring.destroy(back)
                again += len(back)
    ring.forget()
    return again
