"""Kafka for the ledger worker: `ports.Broker` by aiokafka, without groups and without offsets of its own."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from events.topics import COMMANDS, DEAD_LETTERS, EVENTS, Topic
from services.kafka import STOP_SECONDS_MAX, client_options
from services.ledger.broker.command_log import (
    READ_SECONDS_MAX,
    CommandLog,
    bounds,
    let_go,
    new_consumer,
    read_from,
    read_to_ends,
)
from services.ledger.broker.reply_pump import ReplyPump
from services.ledger.failures import NotKept
from services.ledger.ports import CommandRecord, StoredRow
from services.producing import LastingProducer, discard
from services.settings import Settings

REQUEST_BYTES_MAX = 4 * 1024 * 1024
LETTERS_BATCH_BYTES = 512 * 1024  # sent together, those of a batch of commands have little time
RENEW_SECONDS = 1.0  # a thrown-away publisher repeats what it holds for no longer
SCAN_WAIT_MS = 1
"""What a scan asks for is there; a fetch that waited for more would keep the next scan waiting."""


class KafkaBroker:
    """A producer for each topic, so that none waits behind another; one reader of commands; short-lived scanners."""

    def __init__(self, settings: Settings) -> None:
        self._options = client_options(settings)
        self._commands: CommandLog | None = None
        self._publisher: AIOKafkaProducer | None = None
        self._replier: AIOKafkaProducer | None = None
        self._letters: LastingProducer | None = None
        self._replies: ReplyPump | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._scanners: dict[str, list[AIOKafkaConsumer]] = defaultdict(list)

    async def open(self) -> None:
        self._commands = CommandLog(self._options)
        self._replier = AIOKafkaProducer(acks=1, request_timeout_ms=5_000, **self._options)
        await self._commands.consumer.start()
        await self._replier.start()
        self._letters = LastingProducer(
            DEAD_LETTERS.name,
            max_batch_size=LETTERS_BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            **self._options,
        )
        await self._letters.start()
        self._publisher = await self._new_publisher()
        for topic in (COMMANDS, EVENTS):
            self._scanners[topic.name] = [await self._new_scanner(topic)]
        self._replies = ReplyPump(self._replier)

    async def close(self) -> None:
        if self._replies is not None:
            await self._replies.stop()
        readers = [scanner for idle in self._scanners.values() for scanner in idle]
        self._scanners.clear()
        for reader in readers if self._commands is None else [self._commands.consumer, *readers]:
            await let_go(reader)
        for producer in (self._replier, self._publisher):
            if producer is not None:
                self._retire(discard(producer, STOP_SECONDS_MAX))
        if self._letters is not None:
            self._retire(self._letters.stop())
        if self._retired:
            await asyncio.wait(self._retired, timeout=STOP_SECONDS_MAX)
        self._commands = self._replier = self._letters = self._publisher = self._replies = None

    async def leaderless(self, shards: Collection[int]) -> set[int]:
        assert self._replier is not None
        cluster = await self._replier.client.fetch_all_metadata()
        partitions = {TopicPartition(topic.name, shard) for topic in (COMMANDS, EVENTS) for shard in shards}
        return {one.partition for one in partitions if cluster.leader_for_partition(one) in (None, -1)}

    async def commands_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        if not positions:
            return {}
        wanted = {TopicPartition(COMMANDS.name, shard): offset for shard, offset in positions.items()}
        found: dict[int, bytes] = {}
        async with self._scanner(COMMANDS) as scanner:
            begins, ends = await bounds(scanner, wanted)
            sought = {p: offset for p, offset in wanted.items() if begins[p] <= offset < ends[p]}
            read_from(scanner, sought)
            give_up = asyncio.get_running_loop().time() + READ_SECONDS_MAX
            while len(found) < len(sought) and asyncio.get_running_loop().time() < give_up:
                for partition, records in (await scanner.getmany(timeout_ms=200)).items():
                    if records and records[0].offset == sought[partition]:
                        found[partition.partition] = records[0].value or b""
                        scanner.pause(partition)
            return found

    async def commands_begin(self, shards: Sequence[int]) -> dict[int, int]:
        partitions = [TopicPartition(COMMANDS.name, shard) for shard in shards]
        async with self._scanner(COMMANDS) as scanner:
            begins = await scanner.beginning_offsets(partitions)
        return {partition.partition: offset for partition, offset in begins.items()}

    def assign(self, next_offsets: Mapping[int, int]) -> None:
        assert self._commands is not None
        self._commands.assign(next_offsets)

    async def fetch(self, timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        assert self._commands is not None
        return await self._commands.fetch(timeout_seconds, records_max)

    def reply(self, partition: int, value: bytes) -> None:
        assert self._replies is not None
        self._replies.put(partition, value)

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        assert self._letters is not None
        try:  # whoever waits no longer leaves it to the producer, which must learn how it ends
            await asyncio.shield(await self._letters.send(value, key=key, partition=0))
        except KafkaError as error:
            raise NotKept from error

    async def publish(self, shard: int, events: Sequence[StoredRow]) -> int:
        if self._publisher is None:
            raise KafkaConnectionError("the publisher is being renewed")
        batch = self._publisher.create_batch()
        for event in events:
            if batch.append(key=event.key, value=event.value, timestamp=None) is None:
                raise ValueError("the events do not fit into one batch")
        future = await self._publisher.send_batch(batch, EVENTS.name, partition=shard)
        return int((await future).offset)

    async def renew_publisher(self) -> None:
        if self._publisher is not None:
            self._retire(discard(self._publisher, RENEW_SECONDS))
        self._publisher = None
        self._publisher = await self._new_publisher()

    async def events_from(
        self, offsets: Mapping[int, int], unwanted: Collection[int] = ()
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        wanted = {TopicPartition(EVENTS.name, shard): offset for shard, offset in offsets.items()}
        async with self._scanner(EVENTS) as scanner:
            async for record in read_to_ends(scanner, wanted, unwanted):
                yield record

    def _retire(self, ending: Coroutine[Any, Any, None]) -> None:
        """Nobody waits long for it."""
        retired = asyncio.create_task(ending)
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)

    async def _new_publisher(self) -> AIOKafkaProducer:
        publisher = AIOKafkaProducer(
            acks="all",
            enable_idempotence=True,
            max_batch_size=1024 * 1024,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=10_000,
            **self._options,
        )
        try:
            await publisher.start()
        except BaseException:
            await discard(publisher)
            raise
        return publisher

    @contextlib.asynccontextmanager
    async def _scanner(self, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
        """One that knows the topic already, if there is one: to start it takes longer than most scans."""
        idle = self._scanners[topic.name]
        scanner = idle.pop() if idle else await self._new_scanner(topic)
        try:
            yield scanner
        except BaseException:
            await let_go(scanner)
            raise
        scanner.pause(*scanner.assignment())
        idle.append(scanner)

    async def _new_scanner(self, topic: Topic) -> AIOKafkaConsumer:
        scanner = new_consumer(self._options, SCAN_WAIT_MS)
        try:
            await scanner.start()
            await scanner._client.add_topic(topic.name)  # and no offset: a partition may have no leader
        except BaseException:
            await let_go(scanner)
            raise
        return scanner
