"""`ledger.events` read in bulk, without a group: as fast as it comes, from given offsets to given ends."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, OffsetOutOfRangeError

from events.topics import EVENTS
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


class BulkReader:
    """One consumer for some shards; open and close it, or use `async with`."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
            **client_options(settings),
        )

    async def __aenter__(self) -> "BulkReader":
        await self._consumer.start()
        await asyncio.sleep(0)  # aiokafka's own tasks must have begun, or stop() raises CancelledError
        return self

    async def __aexit__(self, *_: object) -> None:
        await ended(self._consumer)

    async def ends(self, shards: Iterable[int]) -> dict[int, int]:
        """The offset behind the last record of each shard, now."""
        found = await self._consumer.end_offsets([TopicPartition(EVENTS.name, shard) for shard in shards])
        return {partition.partition: offset for partition, offset in found.items()}

    async def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int], records_max: int = RECORDS_MAX
    ) -> AsyncIterator[list[Record]]:
        """Records in order per shard, in batches, from `starts` up to `ends`, and none beyond.

        Raises:
            Incomplete: the log begins later.
            Silent: nothing came for too long.
        """
        consumer, loop = self._consumer, asyncio.get_running_loop()
        wanted = {TopicPartition(EVENTS.name, s): ends[s] for s in starts if starts[s] < ends[s]}
        if not wanted:
            return  # an empty assignment makes aiokafka's stop() wait for ever
        consumer.assign(list(wanted))
        for partition in wanted:
            consumer.seek(partition, starts[partition.partition])
        left, silent_since = set(wanted), loop.time()
        while left:
            try:
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=records_max)
            except OffsetOutOfRangeError as error:
                raise Incomplete(f"{EVENTS.name} no longer has its first records") from error
            batch = [
                Record(partition.partition, record.offset, record.value or b"")
                for partition, records in found.items()
                for record in records
                if record.offset < wanted[partition]
            ]
            if batch:
                silent_since = loop.time()
                yield batch
            elif loop.time() - silent_since > SILENCE_SECONDS_MAX:
                raise Silent(f"Kafka sent nothing for {SILENCE_SECONDS_MAX:.0f} s before the log's end")
            for partition in [p for p in left if await consumer.position(p) >= wanted[p]]:
                left.discard(partition)
                consumer.pause(partition)
