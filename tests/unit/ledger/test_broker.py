"""What the ledger's Kafka clients do when a partition takes or gives nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaTimeoutError

from events.topics import COMMANDS, EVENTS
from services.ledger.broker import kafka as broker_module
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.failures import NotKept
from services.settings import Settings
from tests.fakes.simulation import simulated
from tests.unit.test_producing import Producer


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> KafkaBroker:
    """Its publisher has a batch that is sent again and again."""
    monkeypatch.setattr(broker_module, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(broker_module, "STOP_SECONDS_MAX", 0.01)
    found = KafkaBroker(Settings())
    found._publisher = Producer()
    return found


async def test_a_publisher_that_is_thrown_away_keeps_no_tasks_and_sockets(
    broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: Any = Producer()

    async def new() -> Any:
        return fresh

    monkeypatch.setattr(broker, "_new_publisher", new)
    retired: Any = broker._publisher
    await broker.renew_publisher()
    await asyncio.wait(broker._retired)
    assert (retired.closed, fresh.closed) == (["closed", "closed"], [])


async def test_a_broker_that_is_closed_keeps_no_tasks_and_sockets(broker: KafkaBroker) -> None:
    retired: Any = broker._publisher
    await broker.close()
    if broker._retired:
        await asyncio.wait(broker._retired)
    assert retired.closed == ["closed", "closed"]


class Scanner:
    """Of `ledger.events`: five records in each partition, none of which comes."""

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 5)

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    async def getmany(self, *_: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(timeout_ms / 1000)
        return {}

    async def position(self, partition: TopicPartition) -> int:
        return 0

    def pause(self, *_: TopicPartition) -> None: ...

    async def stop(self) -> None: ...


@simulated
async def test_a_scan_that_brings_nothing_ends() -> None:
    broker = KafkaBroker(Settings())
    broker._scanners[EVENTS.name] = [Scanner()]
    with pytest.raises(KafkaTimeoutError):
        async with asyncio.timeout(60):
            _ = [one async for one in broker.events_from({0: 3})]


async def test_partitions_without_a_leader_are_told_by_either_topic() -> None:
    def topic(name: str, *leaders: int) -> Any:
        return 0, name, False, [(0, shard, leader, [1], [1]) for shard, leader in enumerate(leaders)]

    cluster = ClusterMetadata()
    topics = [topic(COMMANDS.name, 1, -1, 1, 1), topic(EVENTS.name, 1, 1, -1, 1)]
    cluster.update_metadata(
        SimpleNamespace(API_VERSION=1, brokers=[(1, "host", 9092, None)], controller_id=1, topics=topics)
    )

    async def fetch_all_metadata() -> ClusterMetadata:
        return cluster

    client = SimpleNamespace(fetch_all_metadata=fetch_all_metadata)
    broker = KafkaBroker(Settings())
    broker._replier = SimpleNamespace(client=client)
    assert await broker.leaderless(range(5)) == {1, 2, 4}
    assert await broker.leaderless([0, 3]) == set()


async def test_a_dead_letter_that_kafka_does_not_take_is_told_and_its_producer_learns_how_it_ends() -> None:
    broker = KafkaBroker(Settings())
    sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def send(*_: object, **__: object) -> "asyncio.Future[Any]":
        return sent

    broker._letters = SimpleNamespace(send=send)  # type: ignore[assignment]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(broker.dead_letter(b"0/1", b"{}"), 0.01)
    assert not sent.done()
    sent.set_exception(KafkaTimeoutError())
    with pytest.raises(NotKept):
        await broker.dead_letter(b"0/1", b"{}")
