"""Kafka in memory: logs per shard, and the promises of `ports.Broker`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence

from events.topics import REPLIES_PARTITIONS
from services.ledger.inbox import Inbox
from services.ledger.ports import CommandRecord, StoredRow
from tests.fakes.gate import Gate

FETCH_RECORDS = 1_000


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
        self.late: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        """Batches of discarded producers that are still on the wire."""
        self._arrived: set[asyncio.Event] = set()

    def send(self, shard: int, value: bytes) -> int:
        """A producer of commands; the record's offset."""
        self.commands[shard].append(value)
        for event in self._arrived:
            event.set()
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
        return len(self.events[shard]) - len(records)

    def reply(self, partition: int, value: bytes) -> None:
        self.replies.append((partition, value))

    def deliver_late(self) -> None:
        """Batches that were given up arrive after all."""
        late, self.late = self.late, []
        for shard, records in late:
            self.append(shard, records)

    async def arrival(self, timeout_seconds: float) -> None:
        event = asyncio.Event()
        self._arrived.add(event)
        try:
            await asyncio.wait_for(event.wait(), timeout_seconds)
        except TimeoutError:
            return
        finally:
            self._arrived.discard(event)


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

    async def close(self) -> None:
        self._inbox.clear()
        self._next = {}

    async def commands_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        await self.gate.before("commands_at")
        kafka = self.kafka
        return {
            shard: kafka.commands[shard][offset]
            for shard, offset in positions.items()
            if kafka.begins[shard] <= offset < len(kafka.commands[shard])
        }

    async def commands_begin(self, shards: Sequence[int]) -> dict[int, int]:
        await self.gate.before("commands_begin")
        return {shard: self.kafka.begins[shard] for shard in shards}

    def assign(self, next_offsets: Mapping[int, int]) -> None:
        self.gate.check()
        self._inbox.clear()
        self._next = dict(next_offsets)

    async def fetch(self, timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        await self.gate.before("fetch")
        if not (found := self._arrived(records_max)):
            await self.kafka.arrival(timeout_seconds)
            found = self._arrived(records_max)
        await self.gate.after("fetch")
        return found

    def reply(self, partition: int, value: bytes) -> None:
        self.gate.check()
        if partition < REPLIES_PARTITIONS:
            self.kafka.reply(partition, value)

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        await self.gate.before("dead_letter")
        self.kafka.dead_letters.append((key, value))
        await self.gate.after("dead_letter")

    async def publish(self, shard: int, events: Sequence[StoredRow]) -> int:
        records = [(event.key, event.value) for event in events]
        try:
            await self.gate.before("publish")
        except PublishFailed:
            self.kafka.late.append((shard, records))
            raise
        offset = self.kafka.append(shard, records)
        await self.gate.after("publish")
        return offset

    async def renew_publisher(self) -> None:
        await self.gate.before("renew_publisher")
        self.publishers += 1

    async def events_from(self, offsets: Mapping[int, int]) -> AsyncIterator[tuple[int, int, bytes]]:
        await self.gate.before("events_from")
        ends = {shard: len(self.kafka.events[shard]) for shard in offsets}
        for shard, start in offsets.items():
            begin = start if 0 <= start <= ends[shard] else 0
            for offset in range(begin, ends[shard]):
                await self.gate.after("events_from")
                yield shard, offset, self.kafka.events[shard][offset][1]

    def _arrived(self, records_max: int) -> list[CommandRecord]:
        for shard, offset in self._next.items():
            log = self.kafka.commands[shard]
            if not self.kafka.begins[shard] <= offset <= len(log):
                raise OutOfRange(f"{shard}:{offset}")
            if offset < len(log) and self._inbox.wants(shard):
                found = enumerate(log[offset : offset + FETCH_RECORDS], start=offset)
                self._inbox.put(shard, [CommandRecord(shard, number, value) for number, value in found])
                self._next[shard] = min(offset + FETCH_RECORDS, len(log))
        return self._inbox.take(records_max)
