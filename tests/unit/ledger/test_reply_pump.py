"""Replies leave in company, and each partition's without waiting for another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator

from events.topics import REPLIES_PARTITIONS
from services.ledger.broker import reply_pump
from services.ledger.broker.reply_pump import ReplyPump
from tests.fakes.simulation import until
from tests.tallied import tallied

SICK, WELL = 3, 5
DROPPED = "wallet_ledger_replies_dropped_total"
REQUEST_SECONDS = 5.0


class Replier:
    """Of aiokafka: its queue of batches, and what its sender does where every partition but one has a leader."""

    def __init__(self) -> None:
        cluster: Any = SimpleNamespace(leader_for_partition=lambda tp: -1 if tp.partition == SICK else 1)
        self.batches = MessageAccumulator(cluster, 16_384, 0, REQUEST_SECONDS)
        self.sent: list[tuple[int, int]] = []
        """Partition and number of records, by batch."""

    def create_batch(self) -> BatchBuilder:
        return self.batches.create_builder()

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        place = TopicPartition(topic, partition)
        future: asyncio.Future[Any] = await self.batches.add_batch(batch, place, REQUEST_SECONDS)
        return future

    async def work(self) -> None:
        while True:
            nodes, _ = self.batches.drain_by_nodes(set(), set())
            for place, batch in [one for batches in nodes.values() for one in batches.items()]:
                self.sent.append((place.partition, batch.record_count))
                batch.done_noack()
            await asyncio.sleep(0.01)

    def records(self, partition: int) -> int:
        return sum(count for to, count in self.sent if to == partition)


@asynccontextmanager
async def pumping() -> AsyncIterator[tuple[ReplyPump, Replier]]:
    replier: Any = Replier()
    pump, sender = ReplyPump(replier), asyncio.create_task(replier.work())
    try:
        yield pump, replier
    finally:
        await pump.stop()
        sender.cancel()
        await asyncio.wait({sender})


async def test_what_has_gathered_is_one_batch_of_each_partition() -> None:
    async with pumping() as (pump, replier):
        for number in range(60):
            pump.put(number % 2, b"reply")
        await until(lambda: len(replier.sent) > 1)
    assert sorted(replier.sent) == [(0, 30), (1, 30)]


async def test_what_is_too_much_for_one_batch_is_several() -> None:
    async with pumping() as (pump, replier):
        for _ in range(100):
            pump.put(WELL, b"x" * 1_000)
        pump.put(WELL, b"x" * 20_000)
        pump.put(WELL, b"last")
        await until(lambda: replier.records(WELL) == 102)
    assert len(replier.sent) > 5


async def test_a_partition_without_a_leader_delays_no_other() -> None:
    async with pumping() as (pump, replier):
        for number in range(1, 21):
            pump.put(SICK, b"lost")
            pump.put(WELL, b"reply")
            await until(lambda number=number: replier.records(WELL) == number, REQUEST_SECONDS / 2)  # type: ignore[misc]
    assert replier.records(SICK) == 0


@pytest.mark.parametrize("partition", [REPLIES_PARTITIONS, 9_999])
async def test_a_reply_to_nowhere_is_dropped(partition: int) -> None:
    async with pumping() as (pump, replier):
        with tallied(DROPPED) as dropped:
            pump.put(partition, b"lost")
            assert dropped() == 1
    assert replier.sent == []


async def test_what_waits_is_bounded_in_each_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_pump, "QUEUED_MAX", 10)
    async with pumping() as (pump, replier):
        with tallied(DROPPED) as dropped:
            for _ in range(15):
                pump.put(SICK, b"lost")
            pump.put(WELL, b"reply")
            await until(lambda: replier.records(WELL) == 1, REQUEST_SECONDS / 2)
            assert dropped() == 5


@pytest.mark.parametrize("why", [KafkaTimeoutError(), AssertionError("Unrecognized partition")])
async def test_replies_that_are_lost_are_counted_one_by_one(
    monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    """Those that no batch was made of, and those whose batch fails later; the next ones are sent, whatever it was."""
    async with pumping() as (pump, replier):
        failing = asyncio.get_running_loop().create_future()
        handed: list[int] = []

        async def send_batch(batch: BatchBuilder, *_: object, **__: object) -> "asyncio.Future[Any]":
            handed.append(batch.record_count())
            if handed == [2]:
                raise why
            return failing

        monkeypatch.setattr(replier, "send_batch", send_batch)
        with tallied(DROPPED) as dropped:
            for _ in range(2):
                pump.put(WELL, b"lost")
            await until(lambda: dropped() == 2)
            for _ in range(3):
                pump.put(WELL, b"lost")
            await until(lambda: handed == [2, 3])
            failing.set_exception(KafkaTimeoutError())
            await until(lambda: dropped() == 5)
