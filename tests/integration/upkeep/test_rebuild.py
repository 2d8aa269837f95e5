"""`projections rebuild` beside a living system: killed at its worst moments, it goes on; nobody is refused a read."""

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

import psycopg
import pytest

from events.replies import Outcome
from services.api.keys import Scope, create_key
from services.console.projections import rebuild
from services.mistakes import ExitCode, Mistake
from services.projections import samples
from services.projections.rebuild import catalogue
from services.projections.rebuild.tables import NAMES
from services.projections.verify import verify_shard
from services.standalone.environment import environment
from services.verifying import Throttle
from tests.asking import TENANT, asking, credit
from tests.integration.upkeep.conftest import CUSTOMERS, SHARDS, command, keys_of, project, published
from tests.running import Process, System, eventually

SHADOW = "SELECT to_regclass('rebuild.checkpoints') IS NOT NULL"
LOADED = "SELECT coalesce((SELECT sum(sequence) FROM rebuild.checkpoints), 0) > 0"
INDEXED = "SELECT to_regclass('rebuild.ledger_entries_pkey') IS NOT NULL"


def answers(process: Process) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/livez", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def api(system: System) -> Iterator[Process]:
    process = system.service("api")
    process.start()  # it is not ready without ledger and projections, and reads all the same
    eventually(lambda: answers(process), what="the api answers")
    yield process
    process.stop()


@contextmanager
def reading(system: System, api: Process) -> Iterator[list[int]]:
    """A client that reads wallets without a pause; the statuses it got."""
    scopes = (Scope.READ,)
    dsn = system.settings.views_dsn.get_secret_value()
    _, key = create_key(dsn, TENANT.business_id, TENANT.mode, "reader", scopes)
    statuses: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            url = f"http://127.0.0.1:{api.port}/customers/{CUSTOMERS[len(statuses) % SHARDS]}/wallets"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    statuses.append(answer.status)
            except HTTPError as error:
                statuses.append(error.code)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()


def killed_when(system: System, condition: str, *options: str) -> None:
    """Start a rebuild and kill -9 it as soon as the database says so."""
    words = [sys.executable, "-m", "services.cli", "projections", "rebuild", "--json", *options]
    process = subprocess.Popen(words, env=environment(system.settings), stdout=subprocess.PIPE)
    with system.views() as views:
        there: Callable[[str], bool] = lambda query: views.execute(query.encode()).fetchone() == (True,)  # noqa: E731
        eventually(
            lambda: (there(SHADOW) and there(condition)) or process.poll() is not None, 60, what=condition
        )
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert there(SHADOW), "what was done is kept"


async def test_killed_and_started_again_it_goes_on_under_reads_and_writes(
    system: System, api: Process
) -> None:
    with system.views() as views:
        before = catalogue.describe(views, "public", NAMES)
        views.execute("UPDATE customers SET name = 'damaged'")
        views.execute("DELETE FROM ledger_entries WHERE sequence % 2 = 0")
    worker = system.started("ledger", "writer")
    with reading(system, api) as statuses:
        async with asking(system.kafka.bootstrap, SHARDS) as asker:
            for customer in CUSTOMERS:
                assert (await asker.ask(customer, credit(11), "beside")).outcome is Outcome.APPLIED
            killed_when(system, SHADOW)
            killed_when(system, LOADED, "--processes", "2")
            with system.views() as reader, reader.transaction():
                reader.execute("SELECT FROM wallets")  # an open transaction of a reader: the swap has to wait
                killed_when(system, INDEXED)
            for customer in CUSTOMERS:
                assert (
                    await asker.ask(customer, credit(12), "ahead of the live tables")
                ).outcome is Outcome.APPLIED
            eventually(lambda: published(system), 15, what="all is in the topic")
            ran = await asyncio.to_thread(command, system, "projections", "rebuild")
            assert ran.code == 0, ran.err
            seen = len(statuses)
            eventually(lambda: len(statuses) > seen + 5, 10, what="reads after the swap")
    worker.stop()
    assert ran.out["resumed"] > 0
    assert set(statuses) == {200}
    with system.views() as views:
        assert catalogue.describe(views, "public", NAMES) == before
        assert views.execute("SELECT to_regnamespace('rebuild') IS NULL").fetchone() == (True,)
        assert views.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)
    await project(system)  # a live projector finds its place in the new tables
    for shard in range(SHARDS):
        checked = await verify_shard(system.settings, keys_of(system), shard, Throttle())
        assert checked.findings == []


def test_two_rebuilds_at_once_are_one_too_many(system: System) -> None:
    from services.projections.rebuild.rebuild import LOCK

    with system.views() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        ran = command(system, "projections", "rebuild")
    assert ran.code == 6
    assert "another rebuild" in ran.err


def test_a_database_that_goes_away_after_the_swap_leaves_it_done(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(_: str) -> bool:
        raise psycopg.OperationalError("server closed\nthe connection")

    monkeypatch.setattr(samples, "renew", gone)
    for name, value in environment(system.settings).items():
        monkeypatch.setenv(name, value)
    with system.views() as views:
        views.execute("UPDATE customers SET name = 'damaged'")
        with pytest.raises(
            Mistake, match=r"are replaced; .* run ANALYZE .* server closed the connection"
        ) as told:
            rebuild(1, afresh=False, as_json=True)
        damaged = views.execute("SELECT count(*) FROM customers WHERE name = 'damaged'").fetchone()
    assert damaged == (0,)
    assert told.value.exit_code == ExitCode.UNREACHABLE
    assert json.loads(capsys.readouterr().out)["events"] > 0
