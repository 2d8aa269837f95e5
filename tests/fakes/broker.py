"""Kafka in memory: logs per shard, and the promises of `ports.Broker`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextvars import Context

from events.topics import COMMANDS, DEAD_LETTERS, EVENTS, REPLIES, REPLIES_PARTITIONS, Topic
from services.ledger.batches.inbox import Inbox
from services.ledger.failures import NotKept
from services.ledger.ports import CommandRecord, StoredRow
from tests.fakes.gate import Gate

FETCH_RECORDS = 1_000
LOSE, LATE, TWICE = "lose", "late", "twice"
"""What may become of a record on its way."""
LATE_SECONDS = 1.5


class PublishFailed(Exception):
    """As aiokafka.errors.KafkaError: whether the records are there is unknown."""


class OutOfRange(Exception):
    """As aiokafka.errors.OffsetOutOfRangeError: no silent reset."""


class MemoryKafka:
    """What survives its clients. `replies` and `dead_letters` in the order they arrived."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.commands: dict[int, list[bytes]] = defaultdict(list)
        self.begins: dict[int, int] = defaultdict(int)
        self.events: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.replies: list[tuple[int, bytes]] = []
        self.dead_letters: list[tuple[bytes, bytes]] = []
        self.leaderless: set[tuple[str, int]] = set()
        """Partitions, by topic, that can neither be read nor written now."""
        self.late: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        """Batches of discarded producers that are still on the wire."""
        self._era = 0
        self._waiting: dict[str, dict[asyncio.Event, None]] = defaultdict(dict)

    def send(self, shard: int, value: bytes) -> int:
        """A producer of commands; the record's offset."""
        self.commands[shard].append(value)
        self._wake(COMMANDS.name)
        return len(self.commands[shard]) - 1

    def truncate_commands(self, shard: int, before: int) -> None:
        """Retention: records below the offset are gone."""
        self.begins[shard] = before

    def recreate_commands(self, shard: int) -> None:
        """The topic was lost and made again."""
        self.commands[shard], self.begins[shard] = [], 0

    def append(self, shard: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        """What a broker does with a batch."""
        self.events[shard].extend(records)
        self._wake(EVENTS.name)
        return len(self.events[shard]) - len(records)

    def reply(self, partition: int, value: bytes) -> None:
        self.replies.append((partition, value))
        self._wake(REPLIES.name)

    def deliver_late(self) -> None:
        """Batches that were given up arrive after all."""
        late, self.late = self.late, []
        for shard, records in late:
            self.append(shard, records)

    def later(self, deliver: Callable[[], object], seconds: float = LATE_SECONDS) -> None:
        """It is under way, whatever becomes of whoever sent it; but connections end with the broker."""
        era = self._era
        asyncio.get_running_loop().call_later(
            seconds, lambda: deliver() if era == self._era else None, context=Context()
        )

    def restart(self) -> None:
        """What was under way to the broker never arrives."""
        self._era += 1
        self.late.clear()

    async def arrival(self, topic: str, timeout_seconds: float) -> None:
        """Until something comes into the topic, or the time is over."""
        event = asyncio.Event()
        self._waiting[topic][event] = None
        try:
            await asyncio.wait_for(event.wait(), timeout_seconds)
        except TimeoutError:
            return
        finally:
            del self._waiting[topic][event]

    def _wake(self, topic: str) -> None:
        for event in self._waiting[topic]:
            event.set()


class MemoryBroker:
    """Implements `ports.Broker`: one client of a MemoryKafka."""

    def __init__(self, kafka: MemoryKafka, gate: Gate | None = None) -> None:
        self.kafka = kafka
        self.gate = gate or Gate()
        self.publishers = 0
        self._next: dict[int, int] = {}
        self._inbox = Inbox()

    async def open(self) -> None:
        await self.gate.before("broker_open")
        self.publishers += 1
        self.assign({})
        await self.gate.after("broker_open")

    async def close(self) -> None:
        self._inbox.clear()
        self._next = {}

    async def leaderless(self, shards: Collection[int]) -> set[int]:
        await self.gate.before("leaderless")
        own = (COMMANDS.name, EVENTS.name)
        found = {shard for topic, shard in self.kafka.leaderless if topic in own} & set(shards)
        await self.gate.after("leaderless")
        return found

    async def commands_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        await self.gate.before("commands_at")
        self._reach(COMMANDS, positions)
        kafka = self.kafka
        found = {
            shard: kafka.commands[shard][offset]
            for shard, offset in positions.items()
            if kafka.begins[shard] <= offset < len(kafka.commands[shard])
        }
        await self.gate.after("commands_at")
        return found

    async def commands_begin(self, shards: Sequence[int]) -> dict[int, int]:
        await self.gate.before("commands_begin")
        self._reach(COMMANDS, shards)
        begins = {shard: self.kafka.begins[shard] for shard in shards}
        await self.gate.after("commands_begin")
        return begins

    def assign(self, next_offsets: Mapping[int, int]) -> None:
        self.gate.check()
        self._inbox.clear()
        self._next = dict(next_offsets)

    async def fetch(self, timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        await self.gate.before("fetch")
        if not (found := self._arrived(records_max)):
            await self.kafka.arrival(COMMANDS.name, timeout_seconds)
            found = self._arrived(records_max)
        await self.gate.after("fetch")
        return found

    def reply(self, partition: int, value: bytes) -> None:
        trouble = self.gate.now("reply")
        if partition >= REPLIES_PARTITIONS or trouble == LOSE:
            return
        if trouble == LATE:
            self.kafka.later(lambda: self.kafka.reply(partition, value))
            return
        self.kafka.reply(partition, value)
        if trouble == TWICE:
            self.kafka.reply(partition, value)

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        try:
            await self.gate.before("dead_letter")
            self._reach(DEAD_LETTERS, [0])
            self.kafka.dead_letters.append((key, value))
            await self.gate.after("dead_letter")
        except PublishFailed as error:
            raise NotKept from error

    async def publish(self, shard: int, events: Sequence[StoredRow]) -> int:
        records = [(event.key, event.value) for event in events]
        try:
            trouble = await self.gate.before("publish")
        except PublishFailed:
            self.kafka.late.append((shard, records))
            raise
        self._reach(EVENTS, [shard])
        if trouble == LOSE:
            raise PublishFailed("publish")
        if trouble == LATE:
            self.kafka.later(lambda: self.kafka.append(shard, records))
            raise PublishFailed("publish")
        offset = self.kafka.append(shard, records)
        await self.gate.after("publish")
        return offset

    async def renew_publisher(self) -> None:
        await self.gate.before("renew_publisher")
        self.publishers += 1
        await self.gate.after("renew_publisher")

    async def events_from(
        self, offsets: Mapping[int, int], unwanted: Collection[int] = ()
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        await self.gate.before("events_from")
        self._reach(EVENTS, offsets)
        ends = {shard: len(self.kafka.events[shard]) for shard in offsets}
        for shard, start in offsets.items():
            begin = start if 0 <= start <= ends[shard] else 0
            for offset in range(begin, ends[shard]):
                if shard in unwanted:
                    break
                await self.gate.after("events_from")
                yield shard, offset, self.kafka.events[shard][offset][1]

    def _reach(self, topic: Topic, shards: Collection[int]) -> None:
        if self.kafka.leaderless & {(topic.name, shard) for shard in shards}:
            raise PublishFailed("a partition has no leader")

    def _arrived(self, records_max: int) -> list[CommandRecord]:
        for shard, offset in self._next.items():
            if (COMMANDS.name, shard) in self.kafka.leaderless:
                continue
            log = self.kafka.commands[shard]
            if not self.kafka.begins[shard] <= offset <= len(log):
                raise OutOfRange(f"{shard}:{offset}")
            if offset < len(log) and self._inbox.wants(shard):
                found = enumerate(log[offset : offset + FETCH_RECORDS], start=offset)
                self._inbox.put(shard, [CommandRecord(shard, number, value) for number, value in found])
                self._next[shard] = min(offset + FETCH_RECORDS, len(log))
        return self._inbox.take(records_max)
