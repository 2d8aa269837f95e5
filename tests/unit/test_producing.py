"""A producer that is replaced leaves nothing behind."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import MessageAccumulator

from services import producing
from services.producing import LastingProducer, discard

PARTITION = TopicPartition("commands", 0)


class Producer:
    """Of aiokafka, one of whose partitions takes nothing. Its queue is aiokafka's own."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.client = self._sender = Closing(self.closed)
        self._message_accumulator = MessageAccumulator(ClusterMetadata(), 16_384, 0, 40.0)

    async def stop(self) -> None:
        await asyncio.Event().wait()

    async def start(self) -> None: ...

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    async def send(self, *_: object, **__: object) -> "asyncio.Future[Any]":
        queued: asyncio.Future[Any] = await self._message_accumulator.add_message(
            PARTITION, b"key", b"value", 1.0
        )
        return queued


class Closing:
    def __init__(self, closed: list[str]) -> None:
        self._closed = closed

    async def close(self) -> None:
        self._closed.append("closed")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """Every one that is asked for."""
    found: list[Producer] = []

    def make(**_: object) -> Producer:
        found.append(Producer())
        return found[-1]

    monkeypatch.setattr(producing, "AIOKafkaProducer", make)
    monkeypatch.setattr(discard, "__defaults__", (0.01,))
    return found


async def test_one_that_cannot_stop_in_order_keeps_no_tasks_and_sockets() -> None:
    producer: Any = Producer()
    await discard(producer, 0.01)
    assert producer.closed == ["closed", "closed"]


@pytest.mark.parametrize("tried", [False, True])
async def test_whoever_waits_for_a_record_that_nobody_will_send_any_more_is_told(tried: bool) -> None:
    """Else the api takes the partition for stuck as long as it runs."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    producer: Any = Producer()
    queued = await producer.send()
    if tried:  # its broker had too few replicas: it is to be sent again
        batch = producer._message_accumulator._pop_batch(PARTITION)
        producer._message_accumulator.reenqueue(batch)
        del batch
    await discard(producer, 0.01)
    with pytest.raises(KafkaTimeoutError):
        await asyncio.wait_for(queued, 1)
    del producer
    await asyncio.sleep(0)
    assert complaints == []


async def test_one_that_is_stopped_is_not_renewed_for_what_it_gives_up(made: list[Producer]) -> None:
    lasting = LastingProducer("commands")
    await lasting.start()
    queued = await lasting.send(b"value", key=b"key")
    await lasting.stop()
    with pytest.raises(KafkaTimeoutError):
        await queued
    await asyncio.sleep(0.01)
    assert len(made) == 1


async def test_after_a_record_that_was_given_up_comes_another_producer(made: list[Producer]) -> None:
    """The broker misses the number of that record, and takes nothing more of the first one in its partition."""
    lasting = LastingProducer("commands")
    await lasting.start()
    queued = await lasting.send(b"value", key=b"key")
    made[0]._message_accumulator._pop_batch(PARTITION).failure(KafkaTimeoutError("no leader for too long"))
    with pytest.raises(KafkaTimeoutError):
        await queued
    await asyncio.sleep(0)
    assert lasting._renewing is not None
    await asyncio.wait_for(lasting._renewing, 5)
    assert [lasting.client] == [producer.client for producer in made[1:]]
    await lasting.stop()
