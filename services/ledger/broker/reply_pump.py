"""Replies on their way to Kafka, each partition's by themselves: one without a leader delays no other's.

A batch that waits behind another one of its partition waits up to the producer's request timeout.
"""

import asyncio
from functools import partial

import structlog
from aiokafka import AIOKafkaProducer

from events.topics import REPLIES, REPLIES_PARTITIONS
from services.ledger import metrics

log = structlog.get_logger()

QUEUED_MAX = 12_500
"""Of one partition. Whoever asked for what is dropped will be told that the outcome is unknown."""


class ReplyPump:
    """Sends from its making until `stop`."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        partitions = range(REPLIES_PARTITIONS)
        self._producer = producer
        self._waiting: list[list[bytes]] = [[] for _ in partitions]
        self._ready = [asyncio.Event() for _ in partitions]
        self._pumps = [asyncio.create_task(self._pump(partition)) for partition in partitions]

    def put(self, partition: int, value: bytes) -> None:
        """Hand over; to nowhere, or where too much waits, it is dropped."""
        if partition >= REPLIES_PARTITIONS or len(self._waiting[partition]) >= QUEUED_MAX:
            metrics.REPLIES_DROPPED.inc()
            return
        self._waiting[partition].append(value)
        self._ready[partition].set()

    async def stop(self) -> None:
        """What waits is dropped."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.wait(self._pumps)

    async def _pump(self, partition: int) -> None:
        """Send what has gathered as one Kafka batch, while the worker decides the next commands."""
        while True:
            await self._ready[partition].wait()
            self._ready[partition].clear()
            values, self._waiting[partition] = self._waiting[partition], []
            sent = 0
            try:
                while sent < len(values):
                    sent += await self._send(partition, values, sent)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next ones are sent: nobody would miss the pump
                _tell_lost(len(values) - sent, error)

    async def _send(self, partition: int, values: list[bytes], start: int) -> int:
        """How many of them, from `start` on, fitted into one batch."""
        batch = self._producer.create_batch()
        for place in range(start, len(values)):
            if batch.append(key=None, value=values[place], timestamp=None) is None:
                break
        count: int = batch.record_count()
        future = await self._producer.send_batch(batch, REPLIES.name, partition=partition)
        future.add_done_callback(partial(_note_lost, count))
        return count


def _note_lost(count: int, future: "asyncio.Future[object]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _tell_lost(count, error)


def _tell_lost(count: int, error: BaseException) -> None:
    metrics.REPLIES_DROPPED.inc(count)
    log.warning("replies_lost", count=count, error=type(error).__name__)
