"""The projections process on a real Kafka: Faust receives, kills and poison change nothing in the end."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError

from events.topics import EVENTS, TOPICS
from services import topics
from services.projections.runner import READING
from services.settings import Settings
from services.standalone.kafka import Kafka
from services.standalone.ports import free_port
from tests import factories
from tests.integration.read_models import SHARDS, Views, business, expect, make_views
from tests.unit.projections.reading import records_of

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 40.0
TAKEOVER_SECONDS_MAX = 10.0
HANDED_OVER_SECONDS_MAX = 4.0
"""Half of it is the heartbeat of the others, by which they hear of it."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    """A Kafka of our own: the name of the topic is fixed, and one test kills it."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        broker = Kafka(Path(name) / "kafka")
        broker.start()
        try:
            broker.wait_ready()
            yield broker
        finally:
            broker.stop()


@pytest.fixture
def views(database: Callable[[str], str], broker: Kafka) -> Views:
    """Empty read models and an empty topic."""
    views = make_views(database)
    views.settings.kafka_bootstrap = broker.bootstrap
    asyncio.run(_without_topics(views.settings))
    topics.ensure(views.settings)
    return views


async def _without_topics(settings: Settings) -> None:
    names = {topic.name for topic in TOPICS}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(sorted(names & set(await admin.list_topics())))
        while names & set(await admin.list_topics()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


class Process:
    """A projections process; `environment` replaces settings."""

    def __init__(self, log: Path, settings: Settings, instance: str = "one", **environment: str) -> None:
        self.port = free_port()
        self.command = [sys.executable, "-m", "services.cli", "projections"]
        self._log = log
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "WALLET_LEDGER_VIEWS_DSN": settings.views_dsn.get_secret_value(),
            "WALLET_LEDGER_KEYS_DSN": settings.keys_dsn.get_secret_value(),
            "WALLET_LEDGER_KEY_ENCRYPTION_KEY": settings.key_encryption_key.get_secret_value(),
            "WALLET_LEDGER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "WALLET_LEDGER_SHARDS": str(settings.shards),
            "WALLET_LEDGER_INSTANCE": instance,
            "WALLET_LEDGER_PROJECTIONS_METRICS_PORT": str(self.port),
        } | environment
        self.start()

    def start(self) -> None:
        with self._log.open("w") as log:  # not a pipe: one that nobody reads would stop the process
            self.popen = subprocess.Popen(self.command, env=self._environment, stderr=log)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def ended(self, seconds: float = PATIENCE_SECONDS) -> tuple[int, str]:
        """Exit code and what it said."""
        return self.popen.wait(timeout=seconds), self._log.read_text()

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of /readyz; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"wallet_ledger_projection_{name} "):
                    return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")


@pytest.fixture
def run(views: Views, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start processes that do not outlive the test."""
    processes: list[Process] = []

    def start(instance: str = "one", **environment: str) -> Process:
        log = tmp_path / f"{len(processes)}.log"
        processes.append(Process(log, views.settings, instance, **environment))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def eventually(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)


def publish(settings: Settings, records: Iterable[factories.Record | tuple[int, bytes]]) -> None:
    """In order; plain bytes go in as they are."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all", linger_ms=5)
        await producer.start()
        try:
            sent = []
            for record in records:
                shard, value = (
                    (record.shard, record.value) if isinstance(record, factories.Record) else record
                )
                sent.append(await producer.send(EVENTS.name, value, partition=shard))
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    asyncio.run(send())


def reached(views: Views) -> dict[int, int]:
    with psycopg.connect(views.dsn) as connection:
        return dict(connection.execute("SELECT shard, sequence FROM checkpoints").fetchall())


def has_all(views: Views, records: Sequence[factories.Record]) -> bool:
    last = {record.shard: record.sequence for record in records}
    now = reached(views)
    return all(now[shard] >= sequence for shard, sequence in last.items())


def commit_group_at_the_end(settings: Settings, records: Sequence[factories.Record]) -> None:
    """As a Faust that had gone on without us would have left it."""
    ends = {TopicPartition(EVENTS.name, record.shard): record.sequence for record in records}

    async def commit() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap, group_id=READING.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(list(ends))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:  # until the static members of earlier tests have left the group
                    try:
                        await consumer.commit(ends)
                        break
                    except CommitFailedError:
                        await asyncio.sleep(0.5)
            assert [await consumer.committed(tp) for tp in ends] == list(ends.values())
        finally:
            await consumer.stop()

    asyncio.run(commit())


def test_an_older_checkpoint_is_read_again_whatever_the_group_has_committed(
    views: Views, run: Callable[..., Process]
) -> None:
    factory = business(views.factory(), customers=20)
    publish(views.settings, factory.records)
    half = len(factory.records) // 2
    views.projector().apply(records_of(factory.records)[:half])  # as a backup would bring it back
    commit_group_at_the_end(views.settings, factory.records)
    run()
    eventually(lambda: has_all(views, factory.records), "the second half")
    expect(views, factory)


@pytest.mark.alone
def test_published_events_become_rows_and_the_process_says_how_it_is(
    views: Views, run: Callable[..., Process]
) -> None:
    factory = business(views.factory(), customers=40)
    publish(views.settings, factory.records)
    process = run()
    eventually(lambda: has_all(views, factory.records), "rows")
    expect(views, factory)
    eventually(lambda: process.ready()[0] == 200, "ready")
    assert process.metric("events_total") == len(factory.records)
    assert process.metric("shards_owned") == SHARDS
    eventually(lambda: process.metric("lag_events") == 0, "the next look at the lag")
    assert process.metric("shards_halted") == 0

    more = [factory.credited("cus_1", 5) for _ in range(10)]
    publish(views.settings, [*more, *more[5:]])  # the relay may repeat itself
    eventually(lambda: process.metric("records_total") == len(factory.records) + 5, "repeats")
    expect(views, factory)

    with psycopg.connect(views.dsn, autocommit=True) as connection:
        eventually(lambda: connection.execute("SELECT id FROM projectors").fetchall() == [("one",)], "a beat")
    began = time.monotonic()
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended()[0] == 0
    assert time.monotonic() - began < 3
    with psycopg.connect(views.dsn) as connection:
        assert connection.execute("SELECT id FROM projectors").fetchall() == []


def test_kill_9_in_the_middle_loses_and_doubles_nothing(views: Views, run: Callable[..., Process]) -> None:
    factory = business(views.factory(), customers=30)
    for number in range(12_000):
        factory.credited(f"cus_{number % 30}", 1)
    publish(views.settings, factory.records)
    process, before = run(), 0
    for _ in range(3):
        eventually(lambda: sum(reached(views).values()) > before, "progress")  # noqa: B023
        process.kill()
        before = sum(reached(views).values())
        process.start()
    eventually(lambda: has_all(views, factory.records), "everything")
    assert before < len(factory.records), "the kills came too late to show anything"
    expect(views, factory)


def test_poison_ends_the_process_twice_then_halts_its_shard_and_is_never_skipped(
    views: Views, run: Callable[..., Process]
) -> None:
    factory = business(views.factory(), customers=20)
    at = next(index for index, record in enumerate(factory.records) if record.sequence == 20)
    shard = factory.records[at].shard
    publish(views.settings, [*factory.records[:at], (shard, b"poison"), *factory.records[at:]])
    process = run()
    for _ in range(2):
        code, said = process.ended()
        assert code == 5
        assert f"shard {shard} at 20" in said
        process.start()
    others = [record for record in factory.records if record.shard != shard]
    eventually(lambda: has_all(views, others), "the other shards")
    eventually(lambda: "chain" in process.ready()[1].get("problems", {}), "alarm")
    assert process.ready()[0] == 503
    assert process.metric("shards_halted") == 1
    assert process.popen.poll() is None
    assert reached(views)[shard] == 19


def test_a_gap_ends_the_process(views: Views, run: Callable[..., Process]) -> None:
    factory = business(views.factory(), customers=5)
    lost = next(record for record in factory.records if record.sequence == 6)
    publish(views.settings, [record for record in factory.records if record is not lost])
    code, said = run().ended()
    assert code == 5
    assert "a gap" in said
    assert reached(views)[lost.shard] == 5


def shared(*processes: Process) -> bool:
    """Whether each has a shard, and all together all."""
    shares = [process.metric("shards_owned") if process.ready()[0] else 0 for process in processes]
    return min(shares) >= 1 and sum(shares) == SHARDS


def more(views: Views, factory: factories.EventFactory, seconds: float = PATIENCE_SECONDS) -> None:
    """Events in all shards, and their rows in time."""
    records = [factory.credited(f"cus_{number % 20}", 1) for number in range(200)]
    publish(views.settings, records)
    eventually(lambda: has_all(views, records), "rows of all shards", seconds)


@pytest.mark.parametrize("loss", [signal.SIGKILL, signal.SIGSTOP])
def test_when_a_process_is_lost_the_other_takes_its_shards_from_the_checkpoints(
    views: Views, run: Callable[..., Process], loss: signal.Signals
) -> None:
    factory = business(views.factory(), customers=20)
    publish(views.settings, factory.records)
    first, second = run("one"), run("two")
    eventually(lambda: shared(first, second), "a share for each")
    eventually(lambda: has_all(views, factory.records), "rows")
    first.popen.send_signal(loss)
    more(views, factory, TAKEOVER_SECONDS_MAX)
    if loss is signal.SIGSTOP:
        first.popen.send_signal(signal.SIGCONT)
        more(views, factory)
    expect(views, factory)


def test_processes_come_and_leave_and_nothing_is_lost_doubled_or_stuck(
    views: Views, run: Callable[..., Process]
) -> None:
    factory = business(views.factory(), customers=20)
    publish(views.settings, factory.records)
    first = run("one")
    eventually(lambda: shared(first), "all for one")
    second = run("two")
    eventually(lambda: shared(first, second), "a share for each")
    more(views, factory)
    first.popen.send_signal(signal.SIGTERM)
    assert first.ended()[0] == 0
    more(views, factory, HANDED_OVER_SECONDS_MAX)
    first.start()
    eventually(lambda: shared(first, second), "a share for each again")
    more(views, factory)
    expect(views, factory)
    assert second.popen.poll() is None


def played(process: Process, program: str, folder: Path) -> Process:
    """The same process as a program that does something else while the folder is there."""
    process.kill()
    process.command = [sys.executable, "-c", program, str(folder)]
    process.start()
    return process


DEAF = """
import asyncio, pathlib, sys
from services import receiving as agent
from services.projections import __main__, watch
from services.settings import Settings

watch.Watch.no_progress_seconds_max = 4.0
receive = agent.CheckpointConsumer._getmany

async def received(consumer, **wanted):
    while pathlib.Path(sys.argv[1]).exists():
        pathlib.Path(sys.argv[1], "reached").touch()
        await asyncio.sleep(0.1)
    return await receive(consumer, **wanted)

agent.CheckpointConsumer._getmany = received
sys.exit(__main__.main(Settings()))
"""
"""A projections process whose Faust stops fetching, as it is known to do, while a folder is there."""


def test_a_process_that_receives_nothing_more_ends_and_its_successor_goes_on(
    views: Views, run: Callable[..., Process], tmp_path: Path
) -> None:
    factory = business(views.factory(), customers=20)
    publish(views.settings, factory.records)
    deaf = tmp_path / "deaf"
    process = played(run(), DEAF, deaf)
    eventually(lambda: process.ready()[0] == 200, "ready")
    eventually(lambda: has_all(views, factory.records), "rows")
    deaf.mkdir()
    eventually(lambda: (deaf / "reached").exists(), "the fetch before is over")
    records = [factory.credited(f"cus_{number}", 1) for number in range(20)]
    publish(views.settings, records)
    code, said = process.ended(15)
    assert (code, "Hangs: no progress for 4 s" in said) == (1, True)
    assert not has_all(views, records)
    shutil.rmtree(deaf)
    process.start()
    eventually(lambda: has_all(views, records), "rows after that")
    expect(views, factory)


LEADERLESS = """
import pathlib, sys
from aiokafka.cluster import ClusterMetadata
from services.projections import __main__, watch
from services.settings import Settings

watch.Watch.no_progress_seconds_max = 4.0
leader_for_partition = ClusterMetadata.leader_for_partition

def leader(cluster, partition):
    if partition.partition == 1 and pathlib.Path(sys.argv[1]).exists():
        return -1
    return leader_for_partition(cluster, partition)

ClusterMetadata.leader_for_partition = leader
sys.exit(__main__.main(Settings()))
"""
"""A projections process to whom Kafka says that shard 1 has no leader, while a folder is there."""


def test_a_shard_without_a_leader_waits_alone(
    views: Views, run: Callable[..., Process], tmp_path: Path
) -> None:
    """For longer than two questions that nobody answers would have taken to end all fetching, and the process."""
    factory = business(views.factory(), customers=20)
    publish(views.settings, factory.records)
    leaderless = tmp_path / "leaderless"
    process = played(run(), LEADERLESS, leaderless)
    eventually(lambda: has_all(views, factory.records), "rows")
    eventually(lambda: process.ready()[0] == 200, "ready")
    leaderless.mkdir()
    eventually(lambda: "{1: 'no leader'}" in str(process.ready()[1]), "the shard is named")
    began = time.monotonic()
    while time.monotonic() - began < 20:
        records = [factory.credited(f"cus_{number}", 1) for number in range(20)]
        publish(views.settings, records)
        others = [record for record in records if record.shard != 1]
        eventually(lambda: has_all(views, others), "rows of the others", 3)  # noqa: B023
        assert process.popen.poll() is None
    assert not has_all(views, factory.records)
    leaderless.rmdir()
    eventually(lambda: has_all(views, factory.records), "rows after that")
    expect(views, factory)
    eventually(lambda: process.ready()[0] == 200, "ready again")


def test_a_lost_database_connection_is_made_again(views: Views, run: Callable[..., Process]) -> None:
    factory = business(views.factory(), customers=5)
    publish(views.settings, factory.records)
    process = run()
    eventually(lambda: has_all(views, factory.records), "rows")
    with psycopg.connect(views.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wallet-ledger%'"
        )
    more = [factory.credited("cus_1", 1) for _ in range(20)]
    publish(views.settings, more)
    eventually(lambda: has_all(views, factory.records), "rows after that")
    expect(views, factory)
    assert process.popen.poll() is None


def test_what_a_crash_of_the_database_took_comes_back_though_no_event_follows(
    views: Views, run: Callable[..., Process]
) -> None:
    factory = business(views.factory(), customers=5)
    publish(views.settings, factory.records)
    process = run()
    eventually(lambda: has_all(views, factory.records), "rows")
    eventually(lambda: process.ready()[0] == 200, "ready")
    views.clear()  # as if the server had not written its last commits when it crashed
    with psycopg.connect(views.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wallet-ledger%'"
        )
    code, said = process.ended(15)
    assert (code, "came back older" in said) == (1, True)
    process.start()
    eventually(lambda: has_all(views, factory.records), "rows again")
    expect(views, factory)
    eventually(lambda: process.ready()[0] == 200, "ready again")


def test_a_restarted_broker_is_followed(views: Views, run: Callable[..., Process], broker: Kafka) -> None:
    factory = business(views.factory(), customers=5)
    publish(views.settings, factory.records)
    process = run()
    eventually(lambda: has_all(views, factory.records), "rows")
    eventually(lambda: process.ready()[0] == 200, "ready")
    broker.kill()
    try:
        eventually(lambda: "kafka" in process.ready()[1].get("problems", {}), "not ready without Kafka")
    finally:
        broker.start()
        broker.wait_ready()
    publish(views.settings, [factory.credited("cus_1", 1) for _ in range(20)])
    eventually(lambda: has_all(views, factory.records), "rows after that")
    expect(views, factory)
    eventually(lambda: process.ready()[0] == 200, "ready again")
