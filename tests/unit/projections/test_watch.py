"""When the watch worries: a deaf consumer, a lost assignment, a crashed Faust; and when it does not."""

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from events.topics import EVENTS
from services.ends import Seen
from services.faust_process import Hangs
from services.projections.lag import Lag
from services.projections.watch import READY_LAG_RECORDS_MAX, Watch
from tests.unit.watching import WatchStage, hasten


class Ends:
    """Answers like the real one, without a broker."""

    def __init__(self) -> None:
        self.shards = {0, 1}
        self.ends: dict[int, int] | None = {0: 0, 1: 0}

    def received(self) -> set[int]:
        return self.shards

    async def seen(self, shards: Collection[int]) -> Seen:
        if self.ends is None:
            raise KafkaConnectionError
        answers = {shard: self.ends[shard] for shard in shards if shard in self.ends}
        return Seen(answers, {shard: "no leader" for shard in shards if shard not in self.ends})


class Writer:
    """What the watch sees of the real one."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.last_progress = time.monotonic()
        self.beats = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.stuck: set[int] = set()

    def halted(self) -> set[int]:
        return self.stuck

    async def heartbeat(self, instance: str) -> None:
        self.beats += 1
        await self.answers.wait()


class Stage(WatchStage):
    """A watch with everything around it played."""

    def __init__(self) -> None:
        self.kafka, self.writer, self.lag = Ends(), Writer(), Lag()
        self.app: Any = SimpleNamespace(
            received=self.kafka.received, read_topic=EVENTS.name, crashed=False, crash_reason=None
        )
        self.watch = Watch(self.app, self.writer, self.lag, "one", self.kafka)  # type: ignore[arg-type]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    hasten(monkeypatch, Watch)
    return Stage()


async def test_idle_is_ready_and_beats(stage: Stage) -> None:
    assert "assignment" in stage.watch.problems()
    await stage.run(0.9)
    assert stage.watch.problems() == {}
    assert stage.writer.beats > 3


async def test_work_without_progress_ends_the_process(stage: Stage) -> None:
    stage.kafka.ends = {0: 5, 1: 0}
    with pytest.raises(Hangs, match="no progress"):
        await stage.run(2)


async def test_work_with_progress_does_not(stage: Stage) -> None:
    stage.kafka.ends = {0: 5, 1: 0}

    async def progress() -> None:
        while True:
            stage.writer.last_progress = time.monotonic()
            await asyncio.sleep(0.01)

    progressing = asyncio.create_task(progress())
    await stage.run(0.9)
    progressing.cancel()


async def test_a_lost_assignment_ends_the_process_and_does_not_beat(stage: Stage) -> None:
    stage.kafka.shards = set()
    with pytest.raises(Hangs, match="no shard is assigned"):
        await stage.run(2)
    assert stage.writer.beats == 0


async def test_without_kafka_it_waits_but_is_not_ready(stage: Stage) -> None:
    stage.kafka.ends = None
    await stage.run(0.9)
    assert "kafka" in stage.watch.problems()


@pytest.mark.parametrize("led", [{}, {0: 0}])
async def test_a_shard_without_a_leader_is_named_and_no_reason_to_restart(
    stage: Stage, led: dict[int, int]
) -> None:
    stage.kafka.ends = {0: 5, 1: 5}
    stage.lag.applied({0: 5})
    await stage.run(0.1)
    stage.kafka.ends = dict.fromkeys(led, 5)
    await stage.run(0.9)
    assert list(stage.watch.problems()) == ["kafka"]
    assert ("0: 'no leader'" in stage.watch.problems()["kafka"]) is (not led)
    assert "1: 'no leader'" in stage.watch.problems()["kafka"]
    assert stage.writer.beats > 3
    stage.kafka.ends = {0: 5, 1: 5}
    with pytest.raises(Hangs, match="no progress"):
        await stage.run(2)


async def test_a_halted_shard_is_no_reason_to_restart_but_to_alarm(stage: Stage) -> None:
    stage.kafka.ends, stage.writer.stuck = {0: 5, 1: 0}, {0}
    await stage.run(0.9)
    assert "chain" in stage.watch.problems()


async def test_far_behind_is_not_ready(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "no_progress_seconds_max", 10.0)
    stage.kafka.ends = {0: READY_LAG_RECORDS_MAX + 1, 1: 0}
    await stage.run(0.1)
    assert "lag" in stage.watch.problems()
    stage.lag.applied({0: READY_LAG_RECORDS_MAX + 1})
    await stage.run(0.1)
    assert stage.watch.problems() == {}


async def test_a_crash_of_faust_ends_the_process(stage: Stage) -> None:
    stage.app.crashed, stage.app.crash_reason = True, RuntimeError("boom")
    with pytest.raises(Hangs, match="RuntimeError"):
        await stage.run(2)


async def test_a_lost_database_is_a_problem(stage: Stage) -> None:
    stage.writer.trouble = "no database: OperationalError"
    assert stage.watch.problems()["database"] == "no database: OperationalError"


@pytest.mark.parametrize("ends", [0, 5])
async def test_a_writer_that_is_stuck_ends_the_process(stage: Stage, ends: int) -> None:
    """Its thread waits for a database that says nothing; also where no event waits behind it."""
    stage.kafka.ends = {0: ends, 1: 0}
    stage.writer.answers.clear()
    with pytest.raises(Hangs, match="no progress"):
        await stage.run(2)


async def test_what_the_writer_says_of_a_lost_database_is_raised(stage: Stage) -> None:
    async def lost(instance: str) -> None:
        raise ConnectionError(instance)

    stage.writer.heartbeat = lost  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await stage.run(2)
