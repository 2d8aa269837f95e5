"""Requests to upstream while Kafka does not take some of them: those wait in order, and nobody else waits for them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, LeaderNotAvailableError
from prometheus_client import REGISTRY

from events.topics import EVENTS
from services.ends import Seen
from services.intake import publishing
from services.intake.publishing import Publisher
from services.intake.requests import is_sealed
from services.settings import Settings
from tests.unit.events.test_golden import GOLDEN

ASKS = (GOLDEN / "wallet.top_up_requested.v1.json").read_bytes()
QUIET = (GOLDEN / "wallet.credited.v1.json").read_bytes()


class Record:
    """As the consumer gives it; `key` is what the test knows it by."""

    def __init__(self, shard: int, offset: int, key: bytes, value: bytes = ASKS) -> None:
        self.partition, self.offset, self.key, self.value = shard, offset, key, value


class Kafka:
    """Consumer, producer, ends, table and key ring in one."""

    def __init__(self) -> None:
        self.arrived: list[Record] = []
        self.held: set[TopicPartition] = set()
        self.leaderless: set[int] = set()
        self.hanging: set[int] = set()
        self.sent: list[bytes] = []
        self.kept: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.silent = False
        self.keyless = False
        """Whether the key database is older than the customers."""
        self.damaged: set[UUID] = set()

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Record]]:
        await asyncio.sleep(0.001)
        found: dict[TopicPartition, list[Record]] = {}
        for record in list(self.arrived):
            if (place := TopicPartition(EVENTS.name, record.partition)) not in self.held:
                self.arrived.remove(record)
                found.setdefault(place, []).append(record)
        return found

    def paused(self) -> set[TopicPartition]:
        return set(self.held)

    def pause(self, *places: TopicPartition) -> None:
        self.held.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self.held.difference_update(places)

    async def send(self, value: bytes, *, key: bytes, partition: int) -> "asyncio.Future[None]":
        acknowledged = asyncio.get_running_loop().create_future()
        if partition in self.leaderless:
            acknowledged.set_exception(LeaderNotAvailableError())
        elif partition not in self.hanging:
            self.sent.append(key)
            acknowledged.set_result(None)
        return acknowledged

    async def seen(self, partitions: Collection[int]) -> Seen:
        if self.silent:
            raise KafkaConnectionError
        return Seen(dict(self.ends), {})

    async def open(self) -> None: ...

    async def be_the_one(self) -> None: ...

    async def next_offsets(self) -> dict[int, int]:
        return dict.fromkeys(range(4), 0)

    async def beat(self) -> None: ...

    async def keep(self, next_offsets: Mapping[int, int]) -> None:
        self.kept = dict(next_offsets)

    def get(self, owners: Iterable[UUID]) -> dict[UUID, bytes]:
        return {}

    def unknown(self, owners: Iterable[UUID]) -> set[UUID]:
        return set(owners) if self.keyless else set()


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    for name in ("PATIENCE_SECONDS", "RETRY_SECONDS", "MEASURE_SECONDS"):
        monkeypatch.setattr(publishing, name, 0.01)

    async def start(publisher: Any) -> None:
        publisher._consumer = publisher._producer = publisher._ends = made

    made = Kafka()
    monkeypatch.setattr(Publisher, "_start", start)
    return made


def made(kafka: Any) -> Publisher:
    return Publisher(Settings(shards=4), kafka, kafka)


async def test_a_data_key_that_is_missing_is_no_erasure_and_its_shard_waits(kafka: Kafka) -> None:
    """Upstream would be asked for a change without what is sealed, and the customer told that it was done."""
    assert is_sealed(ASKS)
    kafka.keyless = True
    async with publishes(kafka):
        kafka.arrived = [Record(1, 0, b"one")]
        await asyncio.sleep(0.1)
        assert kafka.sent == []
        kafka.keyless = False
        async with asyncio.timeout(5):
            while kafka.sent != [b"one"]:  # noqa: ASYNC110 - on state
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def publishes(kafka: Kafka) -> AsyncIterator[Publisher]:
    """As its process does."""
    publisher = made(kafka)
    work = asyncio.ensure_future(publisher.publish_forever())
    try:
        yield publisher
        assert not work.done()
    finally:
        work.cancel()
        opened = [one.task for one in publisher._open.values()]
        for task in opened:
            task.cancel()
        await asyncio.gather(work, *opened, return_exceptions=True)


async def until(kept: dict[int, int], kafka: Kafka) -> None:
    async with asyncio.timeout(5):
        while kafka.kept != kept:  # noqa: ASYNC110 - on state
            await asyncio.sleep(0.001)


async def test_a_shard_that_kafka_does_not_take_waits_alone_and_in_order(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "NOT_READY_SECONDS", 0.0)
    kafka.leaderless = {1}
    kafka.arrived = [Record(1, 0, b"a"), Record(1, 1, b"b"), Record(2, 0, b"c"), Record(3, 5, b"d", QUIET)]
    async with publishes(kafka) as publisher:
        await until({0: 0, 1: 0, 2: 1, 3: 6}, kafka)
        kafka.arrived += [Record(1, 2, b"e"), Record(2, 1, b"f")]
        await until({0: 0, 1: 0, 2: 2, 3: 6}, kafka)
        assert kafka.sent == [b"c", b"f"], "each once"
        assert publisher.problems() == {"requests": "those of shards [1] are not published"}
        kafka.leaderless = set()
        await until({0: 0, 1: 3, 2: 2, 3: 6}, kafka)
        assert (kafka.sent[2:], publisher.problems()) == ([b"a", b"b", b"e"], {})


async def test_a_shard_of_which_kafka_says_nothing_holds_up_nobody(kafka: Kafka) -> None:
    kafka.hanging = {1}
    kafka.arrived = [Record(1, 0, b"a"), Record(2, 0, b"c")]
    async with publishes(kafka) as publisher:
        await until({0: 0, 1: 0, 2: 1, 3: 0}, kafka)
        assert publisher.problems() == {}, "a moment is nothing"


async def test_what_fails_for_another_reason_ends_the_process(kafka: Kafka) -> None:
    async def send(value: bytes, **more: object) -> "asyncio.Future[None]":
        raise ConnectionResetError

    kafka.send = send  # type: ignore[method-assign]
    kafka.arrived = [Record(1, 0, b"a")]
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError):
            await made(kafka).publish_forever()


async def test_what_is_behind_counts_though_nothing_of_it_comes(kafka: Kafka) -> None:
    """And though Kafka does not say any more where it ends."""

    def behind() -> float | None:
        return REGISTRY.get_sample_value("wallet_ledger_intake_requests_behind")

    kafka.ends = {0: 7, 2: 3}
    async with publishes(kafka), asyncio.timeout(5):
        while behind() != 10:  # noqa: ASYNC110 - on state
            await asyncio.sleep(0.001)
        kafka.silent = True
        kafka.arrived = [Record(2, 2, b"c", QUIET)]
        while behind() != 7:  # noqa: ASYNC110 - on state
            await asyncio.sleep(0.001)
