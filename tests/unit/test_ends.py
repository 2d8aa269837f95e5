"""Where a topic ends: one leader that says nothing, or none at all, keeps nobody else's answer."""

import asyncio
from collections.abc import Iterable

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from services import ends
from services.ends import Ends
from services.settings import Settings

LEADERS = {0: 1, 1: 2, 2: 1, 3: -1, 4: None}


class Cluster:
    """Consumer and client of aiokafka in one: partition n of its two brokers ends at 10 n, unless one is deaf."""

    made: list["Cluster"]
    deaf: int | None = None
    away = False

    def __init__(self, **options: object) -> None:
        Cluster.made.append(self)
        self._client = self.cluster = self
        self.stopped = False

    async def start(self) -> None:
        if Cluster.away:
            raise KafkaConnectionError

    async def stop(self) -> None:
        self.stopped = True

    def add_topic(self, topic: str) -> None: ...

    async def force_metadata_update(self) -> bool:
        return not Cluster.away

    def leader_for_partition(self, partition: TopicPartition) -> int | None:
        return LEADERS[partition.partition]

    async def end_offsets(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """As aiokafka: all of them, or it goes on asking."""
        leaders = {LEADERS[one.partition] for one in wanted}
        if leaders & {Cluster.deaf, -1, None}:
            await asyncio.Future()
        return {one: 10 * one.partition for one in wanted}


@pytest.fixture(autouse=True)
def _cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "AIOKafkaConsumer", Cluster)
    monkeypatch.setattr(ends, "ANSWER_SECONDS_MAX", 0.05)
    monkeypatch.setattr(Cluster, "made", [], raising=False)
    for name, value in (("deaf", None), ("away", False)):
        monkeypatch.setattr(Cluster, name, value)


async def test_partitions_without_a_leader_are_named_and_not_asked_for() -> None:
    asked = Ends(Settings(), "topic")
    for _ in range(2):
        assert await asked.seen(LEADERS) == ({0: 0, 1: 10, 2: 20}, {3: "no leader", 4: "no leader"})
    assert await asked.seen([]) == ({}, {})
    assert [one.stopped for one in Cluster.made] == [False]
    await asked.close()
    assert [one.stopped for one in Cluster.made] == [True]


async def test_a_leader_that_says_nothing_keeps_no_answer_of_another() -> None:
    asked = Ends(Settings(), "topic")
    Cluster.deaf = 2
    seen = await asked.seen([0, 1, 2])
    assert seen == ({0: 0, 2: 20}, {1: "its leader does not answer: TimeoutError"})
    Cluster.deaf = None
    assert (await asked.seen([0, 1, 2])).silent == {}
    assert [one.stopped for one in Cluster.made] == [True, False], "whoever was not answered asks anew"


async def test_a_kafka_that_is_away_is_asked_as_by_a_stranger_until_it_is_back() -> None:
    asked = Ends(Settings(), "topic")
    await asked.seen([0])
    Cluster.away = True
    for _ in range(2):
        with pytest.raises(KafkaConnectionError):
            await asked.seen([0])
    Cluster.away = False
    assert await asked.seen([0]) == ({0: 0}, {})
    assert [one.stopped for one in Cluster.made] == [True, True, False]
