"""The whole path on fakes: commands in, workers that live and die, replies and events out; one thread."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import Any

from events.codec import decode_envelope, decode_reply
from events.commands import AnyAsk, EnterInBulk
from events.envelope import Envelope
from events.ids import parse_position
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.ledger.batches.batch import Configured
from services.ledger.ports import CommandRecord
from services.ledger.worker import Worker
from tests.fakes import asking
from tests.fakes.broker import MemoryBroker, MemoryKafka
from tests.fakes.gate import Gate, Killed
from tests.fakes.keys import GlassCoffin, MemoryKeys
from tests.fakes.simulation import PROCESS, SimClock, sim_loop, until
from tests.fakes.store import MemoryDatabase, MemoryStore

SECRET = b"secret of request hashes"
CONFIGURED = Configured(frozenset({"USD", "INR"}), SECRET)
ANSWER_SECONDS = 30.0


class EarlyReply(AssertionError):
    """A reply left before the store had what it speaks of."""


class WatchedKafka(MemoryKafka):
    """Refuses replies that the database does not bear out."""

    def __init__(self, world: "World", shards: int) -> None:
        super().__init__(shards)
        self._world = world

    def reply(self, partition: int, value: bytes) -> None:
        self._world.check(decode_reply(value))
        super().reply(partition, value)


class Node:
    """One process: a worker with its own session and clients. `task` is its `run`, once started."""

    def __init__(self, world: "World", acknowledge_topic: bool = False, gate: Gate | None = None) -> None:
        world.nodes += 1
        self.gate = gate or Gate()
        self.clock = SimClock()
        self.coffin = GlassCoffin()
        self.store = MemoryStore(world.database, self.gate, worker=f"worker-{world.nodes:04}")
        self.broker = MemoryBroker(world.kafka, self.gate)
        self.worker = Worker(
            store=self.store,
            broker=self.broker,
            clock=self.clock,
            keys=MemoryKeys(world.keys, self.gate),
            coffin=self.coffin,
            configured=CONFIGURED,
            shards=world.shards,
            acknowledge_topic=acknowledge_topic,
        )
        self.known: BaseException | None = None
        self.start()

    def start(self) -> None:
        """Once more, like a stranger: what `__main__` does after a failure."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        self.task = asyncio.create_task(self.worker.run(), context=context)

    def kill(self) -> None:
        """kill -9: from now on nothing of it has an effect; the server ends its session."""
        self.gate.dead = True
        self.store.database.end(self.store)
        sim_loop().thaw(self)
        for task in sim_loop().tasks_of(self):
            task.cancel()

    async def owning(self, count: int) -> float:
        """Until it holds so many shards; the seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: len(self.worker.owned) == count)
        return loop.time() - began

    async def end(self) -> BaseException | None:
        """Until `run` is over; what it raised, which the test knows then."""
        if self.task.done() and self.known is not None:
            return self.known
        try:
            await asyncio.wait_for(asyncio.shield(self.task), ANSWER_SECONDS)
        except (Exception, Killed, asyncio.CancelledError) as error:  # noqa: BLE001 - it is the result
            self.known = error
            return error
        return None


class World:
    """What outlives the processes."""

    def __init__(self, shards: int = 4) -> None:
        self.shards = shards
        self.nodes = 0
        """How many there ever were."""
        self.database = MemoryDatabase(shards)
        self.kafka: MemoryKafka = WatchedKafka(self, shards)
        self.keys: dict[Any, bytes] = {}
        self.sent: dict[str, CommandRecord] = {}
        self.rereading = False
        """True once a log is read again from its beginning: then the store's position says nothing."""
        self._numbers = 0

    @contextlib.asynccontextmanager
    async def node(self, *, acknowledge_topic: bool = False) -> AsyncIterator[Node]:
        """A running process; afterwards it is told to stop, and an error of it that no test saw is the test's."""
        node = Node(self, acknowledge_topic)
        try:
            yield node
        finally:
            node.worker.stop()
            known, error = node.known, await node.end()
        if error is not None and error is not known:
            raise error

    def send(self, customer: str, ask: AnyAsk | EnterInBulk, **more: Any) -> str:
        """Put a command on its customer's shard; the correlation of its reply."""
        self._numbers += 1
        value = asking.command(self._numbers, customer, ask, **more)
        return self.send_bytes(self.shard(customer), value, asking.correlation(self._numbers))

    def send_bytes(self, shard: int, value: bytes, correlation: str = "") -> str:
        offset = self.kafka.send(shard, value)
        if correlation:
            self.sent[correlation] = CommandRecord(shard, offset, value)
        return correlation

    def shard(self, customer: str) -> int:
        return shard_of(customer, self.shards)

    def customer_in(self, shard: int) -> str:
        return next(name for number in range(999) if self.shard(name := f"cus_{number}") == shard)

    async def ask(self, customer: str, ask: AnyAsk | EnterInBulk, **more: Any) -> Reply:
        return await self.answer(self.send(customer, ask, **more))

    async def answer(self, correlation: str, count: int = 1) -> Reply:
        """The `count`th reply to a command."""
        await until(lambda: len(self.replies(correlation)) >= count)
        return self.replies(correlation)[count - 1]

    def replies(self, correlation: str) -> list[Reply]:
        replies = [decode_reply(value) for _, value in self.kafka.replies]
        return [reply for reply in replies if reply.correlation == correlation]

    async def taken(self) -> None:
        """Until the store has a position for every command, and the topic every event."""
        await until(self.settled)

    def settled(self) -> bool:
        rows = self.database.rows
        return all(
            rows[shard].position == len(self.kafka.commands[shard]) - 1
            and len(self.topic(shard)) == rows[shard].sequence
            for shard in range(self.shards)
        )

    def topic(self, shard: int) -> list[bytes]:
        """What a consumer of `ledger.events` has after de-duplication by sequence; a gap or other bytes fail."""
        kept: list[bytes] = []
        for _, value in self.kafka.events[shard]:
            sequence = int(decode_envelope(value).sequence)
            assert sequence <= len(kept) + 1, f"gap in shard {shard}: {sequence} after {len(kept)}"
            if sequence == len(kept) + 1:
                kept.append(value)
            assert kept[sequence - 1] == value, f"other bytes at {shard}:{sequence}"
        return kept

    def sequences(self, shard: int) -> list[int]:
        """What lies in the topic, repeats and all."""
        return [int(decode_envelope(value).sequence) for _, value in self.kafka.events[shard]]

    def stored(self, customer: str | None = None) -> list[Envelope]:
        """Committed events in order of their shards, of one customer or of all."""
        shards = range(self.shards) if customer is None else [self.shard(customer)]
        events = [decode_envelope(row.value) for shard in shards for row in self.database.events[shard]]
        return [event for event in events if customer in (None, event.subject)]

    def check(self, reply: Reply) -> None:
        """No reply of any kind leaves before the commit that it speaks of."""
        record = self.sent[reply.correlation]
        row = self.database.rows[record.shard]
        if row.position < record.offset and not self.rereading:
            raise EarlyReply(f"{reply.outcome} before the position was committed")
        for one in reply.entries or [reply]:
            if one.outcome in (Outcome.APPLIED, Outcome.REFUSED):
                shard, sequence = parse_position(one.position)
                if sequence > self.database.rows[shard].sequence:
                    raise EarlyReply(f"{one.outcome} before its event was committed")
