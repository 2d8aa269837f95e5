"""An idempotent producer that outlives what its client cannot.

aiokafka numbers a record even when it gives it up, because its partition had no leader for too long. The broker then misses
that number, and refuses all that follows in the partition as out of order. Only another producer, which begins to count
anew, gets through. A record that failed is never sent again by us: whoever sent it knows.
"""

import asyncio
import contextlib
from typing import Any

import structlog
from aiokafka import AIOKafkaClient, AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from services.kafka import STOP_SECONDS_MAX, ended

log = structlog.get_logger()

PAUSE_SECONDS = 0.5


class LastingProducer:
    """Replaced, once, by a new one whenever a record has failed for good."""

    def __init__(self, topic: str, **options: Any) -> None:
        self._topic = topic
        self._options = options
        self._producer: AIOKafkaProducer
        self._renewing: asyncio.Task[None] | None = None
        self._retired: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Connect, and know the topic's partitions before anything is sent.

        Raises:
            KafkaError: no broker answers.
        """
        self._producer = await self._made()

    async def stop(self) -> None:
        """What is queued is given up after a while. Harmless when it was never started."""
        self._stopped = True
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if hasattr(self, "_producer"):
            await discard(self._producer)
        await asyncio.gather(*self._retired)

    @property
    def client(self) -> AIOKafkaClient:
        """For questions about the cluster."""
        return self._producer.client

    async def send(
        self, value: bytes, *, key: bytes, partition: int | None = None, topic: str = ""
    ) -> "asyncio.Future[Any]":
        """Done when Kafka has it.

        Raises:
            KafkaError: before the record is in a batch.
        """
        producer = self._producer
        sent: asyncio.Future[Any] = await producer.send(
            topic or self._topic, value, key=key, partition=partition
        )
        sent.add_done_callback(lambda done: self._look(producer, done))
        return sent

    def _look(self, producer: AIOKafkaProducer, done: "asyncio.Future[Any]") -> None:
        failed = None if done.cancelled() else done.exception()
        if not isinstance(failed, KafkaError) or producer is not self._producer or self._stopped:
            return
        if self._renewing is None or self._renewing.done():
            log.warning("a record was not taken; the producer is renewed", error=type(failed).__name__)
            self._renewing = asyncio.get_running_loop().create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                fresh = await self._made()
            except KafkaError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            retired, self._producer = self._producer, fresh
            leaving = asyncio.get_running_loop().create_task(discard(retired))
            self._retired.add(leaving)
            leaving.add_done_callback(self._retired.discard)
            return

    async def _made(self) -> AIOKafkaProducer:
        fresh = AIOKafkaProducer(acks="all", enable_idempotence=True, **self._options)
        try:
            await fresh.start()
            await fresh.partitions_for(self._topic)
        except BaseException:
            await discard(fresh)
            raise
        return fresh


async def discard(producer: AIOKafkaProducer, seconds: float = STOP_SECONDS_MAX) -> None:
    """In order, or, where a partition takes nothing, without.

    One that is left keeps its tasks and sockets, and whoever waits for a record of it would wait for ever.
    """
    try:
        await ended(producer, seconds)
    except TimeoutError:
        try:
            with contextlib.suppress(KafkaError):
                await producer._sender.close()
        finally:
            _give_up(producer._message_accumulator)
            await producer.client.close()
    except KafkaError:
        pass


def _give_up(queued: Any) -> None:
    for batch in [one for batches in queued._batches.values() for one in batches]:
        queued._pending_batches.add(batch)  # one that was tried before takes itself out of these
        batch.failure(KafkaTimeoutError("the producer was given up"))
        batch._drain_waiter.exception()  # nobody waits for that
