"""Reading Kafka for the ledger worker: from offsets that it is told, without groups, and `ledger.commands` in turns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from events.topics import COMMANDS
from services.kafka import ended
from services.ledger.batches.inbox import Inbox
from services.ledger.ports import CommandRecord

READ_SECONDS_MAX = 10.0
PARTITION_FETCH_BYTES = 512 * 1024
FETCH_BYTES = 4 * 1024 * 1024
FETCH_WAIT_MS = 100
"""A shard that wants more while a fetch for the others waits for their next command waits with it."""


def new_consumer(options: Mapping[str, Any], wait_ms: int = FETCH_WAIT_MS) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        fetch_max_bytes=FETCH_BYTES,
        fetch_max_wait_ms=wait_ms,
        **options,
    )


def read_from(consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int]) -> None:
    """Nothing is awaited between: a partition without an offset is an error as soon as aiokafka sees it."""
    consumer.assign(list(starts))
    for partition, offset in starts.items():
        consumer.seek(partition, offset)


async def let_go(scanner: AIOKafkaConsumer) -> None:
    with contextlib.suppress(KafkaError, asyncio.TimeoutError):
        await ended(scanner)


async def bounds(
    scanner: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
    """First offset, and the one behind the last."""
    wanted = list(partitions)
    async with asyncio.timeout(READ_SECONDS_MAX):
        return await scanner.beginning_offsets(wanted), await scanner.end_offsets(wanted)


async def read_to_ends(
    scanner: AIOKafkaConsumer, wanted: Mapping[TopicPartition, int], unwanted: Collection[int]
) -> AsyncIterator[tuple[int, int, bytes]]:
    """See `ports.Broker.events_from`."""
    begins, ends = await bounds(scanner, wanted)
    starts = {p: o if begins[p] <= o <= ends[p] else begins[p] for p, o in wanted.items()}
    starts = {p: start for p, start in starts.items() if start < ends[p]}
    read_from(scanner, starts)
    left = set(starts)
    heard = asyncio.get_running_loop().time()
    while left:
        found = await scanner.getmany(*left, timeout_ms=500)
        if not found and asyncio.get_running_loop().time() - heard > READ_SECONDS_MAX:
            raise KafkaTimeoutError("what the topic holds is not read")
        for partition, records in found.items():
            heard = asyncio.get_running_loop().time()
            for record in records:
                if partition.partition in unwanted:
                    break
                yield partition.partition, record.offset, record.value or b""
        over = {p for p in left if p.partition in unwanted or await scanner.position(p) >= ends[p]}
        scanner.pause(*over)
        left -= over


class CommandLog:
    """`ledger.commands` for one life of a worker. Shards with enough waiting are paused, so that others come beside."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.consumer = new_consumer(options)
        self._inbox = Inbox()

    def assign(self, next_offsets: Mapping[int, int]) -> None:
        """These shards from these offsets: what was fetched and not taken is read again."""
        self._inbox.clear()
        starts = {TopicPartition(COMMANDS.name, shard): offset for shard, offset in next_offsets.items()}
        read_from(self.consumer, starts)

    async def fetch(self, timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        if not self.consumer.assignment():
            await asyncio.sleep(timeout_seconds)
            return []
        await self._receive(0.0 if self._inbox else timeout_seconds)
        taken = self._inbox.take(records_max)
        if taken and not self._inbox:
            # else the next fetch leaves at once and comes back with the first command that arrives, alone
            self.consumer.pause(*self.consumer.assignment())
        return taken

    async def _receive(self, timeout_seconds: float) -> None:
        if not (wanting := self._wanting()):
            return
        found = await self.consumer.getmany(*wanting, timeout_ms=int(timeout_seconds * 1000))
        for partition, records in found.items():
            shard = partition.partition
            self._inbox.put(shard, [CommandRecord(shard, one.offset, one.value or b"") for one in records])
        self._wanting()

    def _wanting(self) -> list[TopicPartition]:
        """Those of which more is fetched from now on; the others are paused."""
        wanting: list[TopicPartition] = []
        enough: list[TopicPartition] = []
        for partition in self.consumer.assignment():
            (wanting if self._inbox.wants(partition.partition) else enough).append(partition)
        self.consumer.pause(*enough)
        self.consumer.resume(*wanting)
        return wanting
