"""What is asked of upstream, from `ledger.events` to `payments.requests`: at least once, in order per customer.

One intake process does it at a time; a twin that was believed dead may repeat what this one publishes. A shard whose
requests Kafka does not take waits before them; the others go on.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from events.topics import EVENTS, REQUESTS
from services.ends import Ends
from services.intake import metrics
from services.intake.publications import Publications
from services.intake.requests import asks_upstream, encode_request, is_sealed, owner, request_of
from services.kafka import client_options, ended
from services.keyring import KeyRing, found_and_lost
from services.producing import LastingProducer
from services.settings import Settings

log = structlog.get_logger()

RECORDS_MAX = 4_000
POLL_MS = 500
KEEP_SECONDS = 5.0
"""So often it is noted how far it is while nothing is asked: a look at an event again costs little."""
FETCH_BYTES_MAX = 1024 * 1024
FETCH_WAIT_MS = 100
"""For so long events gather, or until they are `FETCH_BYTES_MAX`: a fetch of all shards costs about the same for one event
as for hundreds, here and in the broker, and nearly none of them asks for anything."""
CLOSE_SECONDS_MAX = 0.5
PATIENCE_SECONDS = 1.0
"""So long all shards wait for one: while a request is published nothing else of its shard is fetched."""
RETRY_SECONDS = 1.0
"""Kafka's client has tried for 40 s before it fails."""
NOT_READY_SECONDS = 10.0
MEASURE_SECONDS = 5.0


class Request(NamedTuple):
    """An event that asks upstream for something, as it is published."""

    type: str
    key: bytes
    value: bytes


class Open(NamedTuple):
    """Requests of a shard that Kafka does not have yet, and where the shard is read from once it has."""

    task: "asyncio.Task[None]"
    next_offset: int
    since: float


class Publisher:
    """`ring` is its own: a key ring is used by one thread at a time."""

    def __init__(self, settings: Settings, ring: KeyRing, publications: Publications) -> None:
        self._settings = settings
        self._ring = ring
        self._publications = publications
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: LastingProducer | None = None
        self._ends = Ends(settings, EVENTS.name)
        self._next: dict[int, int] = {}
        """By shard: all before it is published."""
        self._open: dict[int, Open] = {}
        self._ring_free = asyncio.Lock()

    def problems(self) -> dict[str, str]:
        """The shards whose requests wait: Kafka does not take them, or a data key is missing."""
        late = asyncio.get_running_loop().time() - NOT_READY_SECONDS
        shards = sorted(shard for shard, one in self._open.items() if one.since < late)
        return {"requests": f"those of shards {shards} are not published"} if shards else {}

    async def publish_forever(self) -> None:
        """Raises what Kafka and the databases raise: the process starts again, from where it is noted."""
        await self._publications.open()
        await self._publications.be_the_one()
        self._next = await self._publications.next_offsets()
        await self._start()
        await asyncio.gather(self._publish_forever(), self._measure_forever())

    async def close(self) -> None:
        tasks = [one.task for one in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._consumer is not None:
            await ended(self._consumer, CLOSE_SECONDS_MAX)
        if self._producer is not None:
            await self._producer.stop()
        await self._ends.close()
        await self._publications.close()
        self._ring.forget()

    async def _start(self) -> None:
        options = client_options(self._settings)
        self._producer = LastingProducer(REQUESTS.name, **options)
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
        self._consumer.assign([_partition(shard) for shard in shards])
        for shard in shards:
            self._consumer.seek(_partition(shard), self._next.setdefault(shard, 0))

    async def _publish_forever(self) -> None:
        loop = asyncio.get_running_loop()
        kept, moved = loop.time(), False
        while True:
            await self._publications.beat()
            before = dict(self._next)
            published = await self._round()
            moved = moved or self._next != before
            if moved and (published or loop.time() - kept > KEEP_SECONDS):
                await self._publications.keep(self._next)
                kept, moved = loop.time(), False

    async def _round(self) -> bool:
        """Look at what has arrived, publish what asks for something; whether Kafka has something of that now."""
        assert self._consumer is not None, "it was started"
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
        asked = {partition.partition: [*filter(_asks, records)] for partition, records in fetched.items()}
        asked = {shard: asking for shard, asking in asked.items() if asking}
        now = asyncio.get_running_loop().time()
        for partition, records in fetched.items():
            shard, next_offset = partition.partition, records[-1].offset + 1
            if shard in asked:
                task = asyncio.create_task(self._publish(shard, asked[shard]))
                self._open[shard] = Open(task, next_offset, now)
            else:
                self._next[shard] = next_offset
        if asked:
            await asyncio.wait([self._open[shard].task for shard in asked], timeout=PATIENCE_SECONDS)
        done = [shard for shard, one in self._open.items() if one.task.done()]
        for shard in done:
            published = self._open.pop(shard)
            published.task.result()
            self._next[shard] = published.next_offset
        waiting = {_partition(shard) for shard in self._open}
        paused = self._consumer.paused()
        self._consumer.pause(*(waiting - paused))
        self._consumer.resume(*(paused - waiting))
        return bool(done)

    async def _publish(self, shard: int, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """Returns when Kafka has all of what they ask for, however long that takes."""
        while (requests := await self._requests(records)) is None:
            log.warning(
                "requests_not_published", shard=shard, error="a data key is missing, or does not unwrap"
            )
            await asyncio.sleep(RETRY_SECONDS)
        requests = await self._not_taken(shard, requests)
        while requests:
            await asyncio.sleep(RETRY_SECONDS)
            requests = await self._not_taken(shard, requests)

    async def _requests(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> Sequence[Request] | None:
        """None where something is sealed under a key that should be there and is not: nobody was erased."""
        values = [record.value or b"" for record in records]
        owners = [owner(value) for value in values]
        async with self._ring_free:
            keys, lost = await asyncio.to_thread(found_and_lost, self._ring, set(owners))
        if any(whose in lost and is_sealed(value) for whose, value in zip(owners, values, strict=True)):
            return None
        found = [request_of(value, keys.get(whose)) for whose, value in zip(owners, values, strict=True)]
        return [
            Request(request.type, record.key or b"", encode_request(request))
            for request, record in zip(found, records, strict=True)
        ]

    async def _not_taken(self, shard: int, requests: Sequence[Request]) -> Sequence[Request]:
        """What Kafka does not have: from the first that it did not take, so that they stay in order."""
        assert self._producer is not None, "it was started"
        sent: list[asyncio.Future[object]] = []
        taken = 0
        try:
            for one in requests:
                sent.append(await self._producer.send(one.value, key=one.key, partition=shard))
            for one, kept in zip(requests, sent, strict=True):
                await kept
                metrics.REQUESTS.labels(one.type).inc()
                taken += 1
        except KafkaError as error:
            log.warning("requests_not_published", shard=shard, error=type(error).__name__)
        await asyncio.gather(*sent, return_exceptions=True)  # each is over before one is sent again
        return requests[taken:]

    async def _measure_forever(self) -> None:
        """By the ends: what is fetched says nothing of shards of which nothing comes."""
        ends: dict[int, int] = {}
        while True:
            with suppress(KafkaError, TimeoutError):  # what was known of the ends before is still there
                ends |= (await self._ends.seen(range(self._settings.shards))).ends
            metrics.REQUESTS_BEHIND.set(sum(max(0, end - self._next[shard]) for shard, end in ends.items()))
            await asyncio.sleep(MEASURE_SECONDS)


def _partition(shard: int) -> TopicPartition:
    return TopicPartition(EVENTS.name, shard)


def _asks(record: "ConsumerRecord[bytes, bytes]") -> bool:
    return asks_upstream(record.value or b"")
