"""Kafka's clients as the api's gateway uses them, over a MemoryKafka: names and answers are aiokafka's."""

import asyncio
from collections import defaultdict
from contextvars import Context
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from events.codec import decode_command
from events.topics import REPLIES
from services.ledger.ports import CommandRecord
from tests.fakes.broker import LATE, LATE_SECONDS, LOSE, TWICE, MemoryKafka
from tests.fakes.gate import Gate

FAIL = "fail"
MOMENT_SECONDS = 1e-6


class Record(NamedTuple):
    """As `aiokafka.ConsumerRecord`."""

    offset: int
    value: bytes


class MemoryProducer:
    """Records of a partition arrive in the order in which they were sent, however slow the way is.

    Each command's first record is noted in `sent`, by its correlation.
    """

    def __init__(self, kafka: MemoryKafka, gate: Gate, sent: dict[str, CommandRecord]) -> None:
        self._kafka = kafka
        self._gate = gate
        self._sent = sent
        self._arrives: dict[int, float] = defaultdict(float)
        self.client = self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self._kafka.shards))

    async def force_metadata_update(self) -> bool:
        if await self._gate.before("metadata") == FAIL:
            raise KafkaConnectionError
        return True

    async def send(self, topic: str, value: bytes, key: bytes, partition: int) -> "asyncio.Future[Any]":
        if await self._gate.before("send") == FAIL:
            raise KafkaConnectionError
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        acknowledged.add_done_callback(lambda future: future.cancelled() or future.exception())
        trouble = self._gate.now("deliver")
        loop = asyncio.get_running_loop()
        at = max(self._arrives[partition] + MOMENT_SECONDS, loop.time() + self._gate.seconds())
        at += LATE_SECONDS if trouble == LATE else 0.0
        self._arrives[partition] = at
        if trouble == LOSE:
            loop.call_at(at, _fail, acknowledged, context=Context())
        else:
            self._kafka.later(lambda: self._arrive(partition, value, acknowledged), at - loop.time())
        if trouble == TWICE:
            self._kafka.later(lambda: self._kafka.send(partition, value), at - loop.time() + LATE_SECONDS)
        await self._gate.after("send")
        return acknowledged

    def _arrive(self, partition: int, value: bytes, acknowledged: "asyncio.Future[Any]") -> None:
        offset = self._kafka.send(partition, value)
        correlation = str(decode_command(value)[0].replyto).partition("/")[2]
        self._sent.setdefault(correlation, CommandRecord(partition, offset, value))
        if not acknowledged.done():
            acknowledged.set_result(offset)


class MemoryConsumer:
    """Of one partition of `ledger.replies`."""

    def __init__(self, kafka: MemoryKafka, gate: Gate) -> None:
        self._kafka = kafka
        self._gate = gate
        self._next = 0
        self._partition: TopicPartition

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, partitions: list[TopicPartition]) -> None:
        (self._partition,) = partitions

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self._kafka.replies) for partition in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._next = offset

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        if await self._gate.before("read_replies") == FAIL:
            raise KafkaConnectionError
        found = self._taken()
        if not found:
            await self._kafka.arrival(REPLIES.name, timeout_ms / 1_000)
            found = self._taken()
        await self._gate.after("read_replies")
        return {self._partition: found}

    def _taken(self) -> list[Record]:
        """All partitions lie in one list; others' records are passed over."""
        start, self._next = self._next, len(self._kafka.replies)
        return [
            Record(start + index, value)
            for index, (partition, value) in enumerate(self._kafka.replies[start:])
            if partition == self._partition.partition
        ]


def _fail(acknowledged: "asyncio.Future[Any]") -> None:
    if not acknowledged.done():
        acknowledged.set_exception(KafkaConnectionError())
