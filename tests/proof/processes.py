"""The processes of an installation, as simulated ones: real worker, relay, gateway and projector over fakes."""

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock
from uuid import UUID

import psycopg

from events.topics import EVENTS
from services import producing
from services.api import breaker, gateway
from services.api.asking import Asking
from services.inbox import Inbox
from services.ledger.batches import decisions, folding, settling
from services.projections import writer as writing
from services.projections.lag import Lag
from services.projections.projector import Projector
from services.projections.writer import Writer
from services.reading import Record
from services.settings import Settings
from tests.fakes.clients import MemoryConsumer, MemoryProducer
from tests.fakes.gate import Gate
from tests.fakes.simulation import PROCESS, START_MICROS, sim_loop
from tests.fakes.views import MemorySession
from tests.fakes.world import Node

if TYPE_CHECKING:
    from tests.proof.installation import Installation

SHARDS = 2
SETTINGS = Settings().model_copy(update={"shards": SHARDS, "command_deadline_seconds": 3.0})
CONSUMED_MAX = 40
T = TypeVar("T")


class Process:
    """What can be killed and frozen; its tasks are known by their context."""

    def __init__(self, town: "Installation", name: str) -> None:
        self.town = town
        self.name = name
        self.gate = Gate()
        self.over: asyncio.Future[None]
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)

    def run(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """A task of this process."""
        return asyncio.create_task(work, context=self._context)

    def kill(self) -> None:
        self.gate.dead = True
        loop = sim_loop()
        loop.thaw(self)
        for task in loop.tasks_of(self):
            task.cancel()


class Worker(Node):
    """A ledger process. After an error the same one begins anew, after its death another."""

    def __init__(self, town: "Installation", name: str) -> None:
        self.name = name
        self.gate = Gate()
        town.attend(self)
        super().__init__(town, town.plan.acknowledge_topic, self.gate)


class Api(Process):
    """The command gateway behind the routes' way of asking; no HTTP."""

    def __init__(self, town: "Installation", name: str) -> None:
        super().__init__(town, name)
        town.attend(self)
        self.gateway = self._context.run(gateway.KafkaGateway, SETTINGS)
        self.asking = Asking(self.gateway, Blind(), SHARDS, 0.0)
        self.ready = False
        self.over = self.run(self._serve())

    async def _serve(self) -> None:
        await self.gateway.start()
        self.ready = True
        await asyncio.Future()


class Projections(Process):
    """Writer and projector, with a reader in the place of the Faust agent."""

    def __init__(self, town: "Installation", name: str) -> None:
        super().__init__(town, name)
        town.attend(self)
        self._inbox = Inbox()
        self._writer = Writer(Projector("memory", Ring(town.keys)), self._inbox, Lag())  # type: ignore[arg-type]
        self.over = self.run(self._work())

    async def _work(self) -> None:
        offsets = await self._writer.next_offsets()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._writer.write_forever())
            group.create_task(self._consume(offsets))

    async def _consume(self, offsets: dict[int, int]) -> None:
        kafka = self.town.kafka
        while True:
            trouble = await self.gate.before("consume")
            if trouble == "again":  # a rebalance: all is read again from the checkpoints
                offsets = await self._writer.next_offsets()
            records = [record for shard in offsets for record in self._taken(shard, offsets)]
            if records:
                await self._inbox.put(records)
            else:
                await kafka.arrival(EVENTS.name, 1.0)
            await self.gate.after("consume")

    def _taken(self, shard: int, offsets: dict[int, int]) -> list[Record]:
        log = self.town.kafka.events[shard]
        if offsets[shard] > len(log):
            offsets[shard] = 0  # `auto_offset_reset=earliest`
        start = offsets[shard]
        taken = log[start : start + CONSUMED_MAX]
        offsets[shard] += len(taken)
        return [Record(shard, start + index, value) for index, (_, value) in enumerate(taken)]


class Blind:
    """A visibility that never waits: reads are checked against the log instead."""

    async def wait(self, shard: int, sequence: int, seconds: float) -> bool:
        return False

    async def confirm(self, at_least: Mapping[int, int]) -> bool:
        return False

    def owe(self, shard: int, sequence: int) -> None: ...

    def reached(self) -> Sequence[int]:
        return [0] * SHARDS


class Ring:
    """As `KeyRing`, on the table of the simulated key database."""

    def __init__(self, table: dict[UUID, bytes]) -> None:
        self._table = table
        self.damaged: set[UUID] = set()

    def get(self, owners: set[UUID]) -> dict[UUID, bytes]:
        return {owner: self._table[owner] for owner in owners if self._table.get(owner)}

    def unknown(self, owners: set[UUID]) -> set[UUID]:
        return owners - self._table.keys()

    def drop(self, owners: set[UUID]) -> None: ...

    def forget(self) -> None: ...


@contextlib.contextmanager
def simulated_world(town: "Installation") -> Iterator[None]:
    """Clocks, chance, Kafka's clients and PostgreSQL's sessions of gateway and projector are the simulation's."""

    def here() -> Any:
        return PROCESS.get()

    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    def wall() -> float:
        return START_MICROS / 1e6 + monotonic()

    signals = SimpleNamespace(SIGTERM=0, raise_signal=lambda _: town.routine_died(here()))
    patches: list[tuple[Any, str, Any]] = [
        (producing, "AIOKafkaProducer", lambda **_: MemoryProducer(town.kafka, here().gate, town.sent)),
        (gateway, "AIOKafkaConsumer", lambda **_: MemoryConsumer(town.kafka, here().gate)),
        (gateway, "time", SimpleNamespace(monotonic=monotonic, time=wall)),
        (gateway, "secrets", SimpleNamespace(token_bytes=town.token_bytes)),
        (gateway, "signal", signals),
        (breaker, "monotonic", monotonic),
        (writing, "time", SimpleNamespace(monotonic=monotonic, perf_counter=monotonic)),
        *(
            (module, "SNAPSHOT_EVERY", 3) for module in (decisions, folding)
        ),  # small, so that they are reached
        (decisions, "RUN_EVENTS_MAX", 5),
        (settling, "CAREFUL_COMMANDS", 5),
        (settling, "BATCH_COMMANDS_MAX", 6),
        (psycopg, "connect", lambda *_, **__: MemorySession(town.views, here().gate)),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, stand_in in patches:
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield
