"""Backups of a store in memory, and its recovery from the topic."""

from collections.abc import Iterable
from uuid import UUID

from services.ledger.recovery.recover import Recovery
from services.ledger.recovery.report import Report
from tests.fakes.broker import MemoryBroker
from tests.fakes.gate import Gate
from tests.fakes.store import MemoryStore
from tests.fakes.world import World


class TableOfKeys:
    """Implements `recover.Keys` over what a key database would hold."""

    def __init__(self, world: World) -> None:
        self._known = world.keys

    async def unknown(self, owners: Iterable[UUID]) -> set[UUID]:
        return set(owners) - self._known.keys()


async def recover(world: World, *, dry: bool = False, gate: Gate | None = None) -> Report:
    """On the world's database, from its topic."""
    recovery = Recovery(
        store=MemoryStore(world.database, gate, "recover"),
        broker=MemoryBroker(world.kafka, gate),
        keys=TableOfKeys(world),
        shards=world.shards,
        dry=dry,
    )
    return await recovery.run()
