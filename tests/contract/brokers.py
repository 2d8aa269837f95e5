"""Where the contract of `ports.Broker` is tried out: the same questions to memory and to Kafka."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError

from events.topics import COMMANDS, DEAD_LETTERS, EVENTS, REPLIES
from services.kafka import client_options
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.ports import Broker
from services.settings import Settings
from tests.fakes.broker import MemoryBroker, MemoryKafka, OutOfRange

SHARDS = 96
READ_SECONDS_MAX = 20.0

Pair = tuple[bytes | None, bytes]
_used = itertools.count()


class BrokerLab(Protocol):
    """One cluster, as many clients as a test wants."""

    @property
    def out_of_range(self) -> type[Exception]: ...

    def client(self) -> Broker: ...

    def shard(self) -> int:
        """One that no other test uses: the logs of a broker cannot be emptied."""
        ...

    async def send(self, shard: int, *values: bytes) -> int:
        """Append to `ledger.commands`; the first offset."""
        ...

    async def append(self, shard: int, *values: bytes) -> None:
        """Someone else writes to `ledger.events`."""
        ...

    async def forget_commands(self, shard: int, before: int) -> None:
        """Retention: records below the offset are gone."""
        ...

    async def events(self, shard: int, count: int) -> Sequence[Pair]:
        """The first records of `ledger.events`, key and value."""
        ...

    async def replies(self, partition: int, last: bytes) -> Sequence[bytes]:
        """All replies up to this one."""
        ...

    async def dead_letters(self, last: bytes) -> Sequence[Pair]:
        """All dead letters up to the one with this key."""
        ...


class MemoryLab:
    """Implements `BrokerLab`."""

    out_of_range = OutOfRange

    def __init__(self) -> None:
        self._kafka = MemoryKafka(SHARDS)
        self._shards = itertools.count()

    def client(self) -> Broker:
        return MemoryBroker(self._kafka)

    def shard(self) -> int:
        return next(self._shards)

    async def send(self, shard: int, *values: bytes) -> int:
        offsets = [self._kafka.send(shard, value) for value in values]
        return offsets[0]

    async def append(self, shard: int, *values: bytes) -> None:
        self._kafka.append(shard, [(b"", value) for value in values])

    async def forget_commands(self, shard: int, before: int) -> None:
        self._kafka.truncate_commands(shard, before)

    async def events(self, shard: int, count: int) -> Sequence[Pair]:
        return self._kafka.events[shard][:count]

    async def replies(self, partition: int, last: bytes) -> Sequence[bytes]:
        assert (partition, last) in self._kafka.replies
        return [value for to, value in self._kafka.replies if to == partition]

    async def dead_letters(self, last: bytes) -> Sequence[Pair]:
        assert last in [key for key, _ in self._kafka.dead_letters]
        return self._kafka.dead_letters


class KafkaLab:
    """Implements `BrokerLab`."""

    out_of_range = OffsetOutOfRangeError

    def __init__(self, bootstrap: str) -> None:
        self._settings = Settings(kafka_bootstrap=bootstrap, shards=SHARDS)
        self._producer = AIOKafkaProducer(max_request_size=4 * 1024 * 1024, **client_options(self._settings))

    async def open(self) -> None:
        await self._producer.start()

    async def close(self) -> None:
        await self._producer.stop()

    def client(self) -> Broker:
        return KafkaBroker(self._settings)

    def shard(self) -> int:
        shard = next(_used)
        assert shard < SHARDS, "raise SHARDS: each test needs logs of its own"
        return shard

    async def send(self, shard: int, *values: bytes) -> int:
        futures = [await self._producer.send(COMMANDS.name, value, partition=shard) for value in values]
        offsets = [int((await future).offset) for future in futures]
        return offsets[0]

    async def append(self, shard: int, *values: bytes) -> None:
        for value in values:
            await self._producer.send_and_wait(EVENTS.name, value, partition=shard)

    async def forget_commands(self, shard: int, before: int) -> None:
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            partition = TopicPartition(COMMANDS.name, shard)
            await admin.delete_records({partition: RecordsToDelete(before_offset=before)}, 10_000)
        finally:
            await admin.close()

    async def events(self, shard: int, count: int) -> Sequence[Pair]:
        found: list[Pair] = []
        async with self._reader(EVENTS.name, shard) as records:
            async for key, value in records:
                found.append((key, value))
                if len(found) == count:
                    break
        return found

    async def replies(self, partition: int, last: bytes) -> Sequence[bytes]:
        found: list[bytes] = []
        async with self._reader(REPLIES.name, partition) as records:
            async for _, value in records:
                found.append(value)
                if value == last:
                    break
        return found

    async def dead_letters(self, last: bytes) -> Sequence[Pair]:
        found: list[Pair] = []
        async with self._reader(DEAD_LETTERS.name, 0) as records:
            async for key, value in records:
                found.append((key, value))
                if key == last:
                    break
        return found

    @asynccontextmanager
    async def _reader(self, topic: str, partition: int) -> AsyncIterator[AsyncIterator[Pair]]:
        consumer = AIOKafkaConsumer(
            max_partition_fetch_bytes=4 * 1024 * 1024, **client_options(self._settings)
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, partition)])
            await consumer.seek_to_beginning()
            async with asyncio.timeout(READ_SECONDS_MAX):
                yield ((record.key, record.value) async for record in consumer)
        finally:
            await consumer.stop()
