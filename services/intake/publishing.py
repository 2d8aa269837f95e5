"""What is asked of upstream, from `ledger.events` to `payments.requests`: at least once, in order per customer.

One intake process does it at a time; a twin that was believed dead may repeat what this one publishes.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from events.topics import EVENTS, REQUESTS
from services.intake import metrics
from services.intake.publications import Publications
from services.intake.requests import asks_upstream, encode_request, owner, request_of
from services.kafka import client_options, ended
from services.keyring import KeyRing
from services.settings import Settings

RECORDS_MAX = 4_000
POLL_MS = 500
KEEP_SECONDS = 5.0
"""So often it is noted how far it is while nothing is asked: a look at an event again costs little."""
FETCH_BYTES_MAX = 1024 * 1024
FETCH_WAIT_MS = 100
"""For so long events gather, or until they are `FETCH_BYTES_MAX`: a fetch of all shards costs about the same for one event
as for hundreds, here and in the broker, and nearly none of them asks for anything."""
CLOSE_SECONDS_MAX = 0.5


class Found(NamedTuple):
    """An event that asks upstream for something."""

    shard: int
    key: bytes
    value: bytes


class Publisher:
    """`ring` is its own: a key ring is used by one thread at a time."""

    def __init__(self, settings: Settings, ring: KeyRing, publications: Publications) -> None:
        self._settings = settings
        self._ring = ring
        self._publications = publications
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._next: dict[int, int] = {}

    async def publish_forever(self) -> None:
        """Raises what Kafka and the databases raise: the process starts again, from where it is noted."""
        await self._publications.open()
        await self._publications.be_the_one()
        self._next = await self._publications.next_offsets()
        await self._start()
        loop = asyncio.get_running_loop()
        kept, moved = loop.time(), False
        while True:
            await self._publications.beat()
            found, count = await self._fetch()
            if found:
                await self._publish(found)
            moved = moved or count > 0
            if moved and (found or loop.time() - kept > KEEP_SECONDS):
                await self._publications.keep(self._next)
                kept, moved = loop.time(), False

    async def close(self) -> None:
        for client in (self._consumer, self._producer):
            if client is not None:
                await ended(client, CLOSE_SECONDS_MAX)
        await self._publications.close()
        self._ring.forget()

    async def _start(self) -> None:
        options = client_options(self._settings)
        self._producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **options)
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_min_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **options,
        )
        await self._producer.start()
        await self._consumer.start()
        shards = range(self._settings.shards)
        self._consumer.assign([TopicPartition(EVENTS.name, shard) for shard in shards])
        for shard in shards:
            self._consumer.seek(TopicPartition(EVENTS.name, shard), self._next.setdefault(shard, 0))

    async def _fetch(self) -> tuple[list[Found], int]:
        """What asks for something of what has arrived, and how many events there were; passed when published."""
        assert self._consumer is not None, "it was started"
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
        found = [_found(record) for records in fetched.values() for record in records if _asks(record)]
        behind = 0
        for partition, records in fetched.items():
            self._next[partition.partition] = records[-1].offset + 1
            behind += (self._consumer.highwater(partition) or 0) - records[-1].offset - 1
        metrics.REQUESTS_BEHIND.set(behind)
        return found, sum(map(len, fetched.values()))

    async def _publish(self, found: Sequence[Found]) -> None:
        """Returns when Kafka has all of them."""
        assert self._producer is not None, "it was started"
        owners = {one.value: owner(one.value) for one in found}
        keys = await asyncio.to_thread(self._ring.get, set(owners.values()))
        sent = []
        for one in found:
            request = request_of(one.value, keys.get(owners[one.value]))
            sent.append(
                await self._producer.send(
                    REQUESTS.name, encode_request(request), key=one.key, partition=one.shard
                )
            )
            metrics.REQUESTS.labels(request.type).inc()
        await asyncio.gather(*sent)


def _asks(record: "ConsumerRecord[bytes, bytes]") -> bool:
    return asks_upstream(record.value or b"")


def _found(record: "ConsumerRecord[bytes, bytes]") -> Found:
    return Found(record.partition, record.key or b"", record.value or b"")
