"""A topic read without a group, as fast as it comes: from given offsets to given ends, or on and on."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, OffsetOutOfRangeError

from events.topics import EVENTS, Topic
from services.kafka import client_options, ended
from services.settings import Settings

RECORDS_MAX = 4_000
PARTITION_FETCH_BYTES_MAX = 1024 * 1024
POLL_MS = 500
SILENCE_SECONDS_MAX = 30.0


class Record(NamedTuple):
    """As it came from Kafka: nothing about it is believed yet."""

    shard: int
    offset: int
    value: bytes


class Incomplete(Exception):
    """The log has lost its first records; nothing can be made of a part."""


class Silent(KafkaTimeoutError):  # type: ignore[misc]
    """Kafka gives nothing for too long: no word about the log. Try again later."""

    def __str__(self) -> str:
        """What is said; aiokafka's own would begin with the name of the class."""
        return str(self.args[0])


class BulkReader:
    """One consumer for some partitions of a topic; open and close it, or use `async with`.

    Of a topic that keeps its records for ever the first ones must be there; elsewhere they may expire while they are read.
    """

    def __init__(self, settings: Settings, topic: Topic = EVENTS) -> None:
        self._topic = topic.name
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none" if topic.retention_ms < 0 else "earliest",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            **client_options(settings),
        )

    async def __aenter__(self) -> "BulkReader":
        try:
            await self._consumer.start()
            await asyncio.sleep(0)  # aiokafka's own tasks must have begun, or stop() raises CancelledError
        except BaseException:
            await ended(self._consumer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._consumer)

    async def begins(self, numbers: Iterable[int]) -> dict[int, int]:
        """The offset of the first record of each partition, now."""
        return _numbered(await self._consumer.beginning_offsets(self._partitions(numbers)))

    async def ends(self, numbers: Iterable[int]) -> dict[int, int]:
        """The offset behind the last record of each partition, now."""
        return _numbered(await self._consumer.end_offsets(self._partitions(numbers)))

    async def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int], records_max: int = RECORDS_MAX
    ) -> AsyncIterator[list[Record]]:
        """Records in order per partition, in batches, from `starts` up to `ends`, and none beyond.

        Raises:
            Incomplete: the log begins later.
            Silent: nothing came for too long.
        """
        loop = asyncio.get_running_loop()
        wanted = {number: ends[number] for number in starts if starts[number] < ends[number]}
        if not wanted:
            return  # an empty assignment makes aiokafka's stop() wait for ever
        self._place({number: starts[number] for number in wanted})
        left, silent_since = set(self._partitions(wanted)), loop.time()
        while left:
            found, done = await self._round(left, wanted, records_max)
            if batch := [record for record in found if record.offset < wanted[record.shard]]:
                silent_since = loop.time()
                yield batch
            elif loop.time() - silent_since > SILENCE_SECONDS_MAX:
                raise _silent()
            left -= done
            self._consumer.pause(*done)

    async def follow(self, starts: Mapping[int, int]) -> AsyncIterator[list[Record]]:
        """What is there from `starts` on, and what comes: without an end. Raises Incomplete."""
        self._place(starts)
        while True:
            if batch := await self._next(RECORDS_MAX):
                yield batch

    async def _round(
        self, left: Iterable[TopicPartition], wanted: Mapping[int, int], records_max: int
    ) -> tuple[list[Record], set[TopicPartition]]:
        """What came, and which partitions have been read to their end.

        aiokafka asks for a position without end where records expired and nobody says what is left of them.
        """
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                found = await self._next(records_max)
                return found, {p for p in left if await self._consumer.position(p) >= wanted[p.partition]}
        except TimeoutError as error:
            raise _silent() from error

    def _partitions(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in numbers]

    def _place(self, starts: Mapping[int, int]) -> None:
        self._consumer.assign(self._partitions(starts))
        for number, offset in starts.items():
            self._consumer.seek(TopicPartition(self._topic, number), offset)

    async def _next(self, records_max: int) -> list[Record]:
        """None where none came for a while."""
        try:
            found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=records_max)
        except OffsetOutOfRangeError as error:
            raise Incomplete(f"{self._topic} no longer has its first records") from error
        return [
            Record(partition.partition, record.offset, record.value or b"")
            for partition, records in found.items()
            for record in records
        ]


def _silent() -> Silent:
    return Silent(f"Kafka sent nothing for {SILENCE_SECONDS_MAX:.0f} s before the log's end")


def _numbered(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}
