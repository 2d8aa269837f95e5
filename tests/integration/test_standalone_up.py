"""`up`: who starts whom, what a person reads when it cannot, and that nothing is left behind."""

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from services.console.mistakes import beside
from services.standalone.ports import free_port, port_is_free
from tests.running import eventually

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from services import cli
from services.standalone import machine
machine.CLI = (sys.executable, sys.argv.pop())
sys.argv.append("up")
cli.main()
"""
FAKE = Path(__file__).with_name("fake_cli.py")


class Up:
    """One `up` over fake services and, unless the environment says otherwise, real servers."""

    def __init__(self, data: Path, stdout: int = subprocess.PIPE, **variables: str) -> None:
        self.data = data
        self.port = int(variables.get("HTTP_PORT") or _four_free_ports())
        settings = {f"WALLET_LEDGER_{name}": value for name, value in variables.items() if name.isupper()}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(FAKE)],
            env={
                **{
                    name: value for name, value in os.environ.items() if not name.startswith("WALLET_LEDGER_")
                },
                **settings,
                "WALLET_LEDGER_DATA_DIR": str(data),
                "WALLET_LEDGER_HTTP_PORT": str(self.port),
                "FAKE_BROKEN": variables.get("broken", ""),
                "FAKE_CODE": variables.get("code", "3"),
                "PYTHONPATH": str(ROOT),
            },
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            process_group=0,  # as a shell does
        )
        self.said: list[str] = []

    def until(self, pattern: str, timeout: float = 60) -> str:
        """Read what it says up to a line that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} was never said:\n{''.join(self.said)}")

    def ready(self) -> dict[str, object]:
        self.until("Ctrl-C stops everything")
        content: dict[str, object] = json.loads((self.data / "ready.json").read_text())
        return content

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it, and read to the end; the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        said, _ = self.process.communicate(timeout=60)
        self.said.append(said)
        return self.process.returncode

    def called(self) -> list[str]:
        return [line.split()[0] for line in (self.data / "called.txt").read_text().splitlines()]

    def pid_of(self, name: str) -> int:
        lines = [line.split() for line in (self.data / "called.txt").read_text().splitlines()]
        return int([pid for found, pid in lines if found == name][-1])


def _four_free_ports() -> int:
    while True:
        port = free_port()
        if all(port_is_free(port + n) for n in (1, 2, 3)):
            return port


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    """Start one; all that still run at the end are stopped."""
    started: list[Up] = []
    with tempfile.TemporaryDirectory(prefix="wallet ledger ") as name:
        Path(name).chmod(0o711)

        def start(data: str = "data", stdout: int = subprocess.PIPE, **variables: str) -> Up:
            started.append(Up(Path(name) / data, stdout, **variables))
            return started[-1]

        yield start
        for one in started:
            if one.process.poll() is None:
                one.end()


@pytest.mark.alone
def test_two_starts(up: Callable[..., Up]) -> None:
    first = up()
    ready = first.ready()
    assert ready["base_url"] == f"http://127.0.0.1:{first.port}"
    assert set(ready) == {"base_url", "api_key", "kafka", "database", "embedded", "secrets"}
    assert stat.S_IMODE((first.data / "ready.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((first.data / "secrets.json").stat().st_mode) == 0o600
    assert f"a business is played --journal {first.data / 'upstream.json'}\n" in first.said
    eventually(lambda: first.called().count("upstream") == 2, what="its past and its present")
    assert first.end(signal.SIGINT) == 130
    stopped = [line.split()[-1] for line in first.said[-1].splitlines() if "stopping" in line]
    assert stopped == ["upstream", "api", "intake", "ledger", "projections", "kafka", "postgres"]
    assert not (first.data / "ready.json").exists()

    secrets = (first.data / "secrets.json").read_text()
    began = time.monotonic()
    second = up(LEDGER_WORKERS="2")
    assert second.ready()["api_key"] == ready["api_key"]
    assert time.monotonic() - began < 10
    assert any("ledger-2 serves /metrics on http://127.0.0.1:" in line for line in second.said)
    assert second.called().count("ledger") == 1 + 2
    eventually(
        lambda: second.called().count("upstream") == 1 + 2, what="its past once, its present each time"
    )
    assert second.end(signal.SIGTERM) == 0
    assert (second.data / "secrets.json").read_text() == secrets
    assert second.called().count("keys") == 1


def test_a_dead_child_is_started_again(up: Callable[..., Up]) -> None:
    one = up(PLAY_VISITS="0")
    one.ready()
    assert "upstream" not in one.called(), "it is switched off"
    before = one.pid_of("ledger")
    os.kill(before, signal.SIGKILL)
    assert "ledger died (SIGKILL): starting it again in 0.5 s" in one.until("died")
    assert "ledger is back" in one.until("back")
    assert one.pid_of("ledger") != before
    assert one.end() == 0


def test_five_deaths_in_a_minute_stop_everything_and_say_why(up: Callable[..., Up]) -> None:
    one = up(broken="projections", code="1")
    (one.data / "logs").mkdir(parents=True, exist_ok=True)
    (one.data / "logs" / "projections.log").write_text("what an earlier run met\n")
    assert one.ended() == 1
    assert one.called().count("projections") == 5
    assert "projections died 5 times in a minute" in one.said[-1]
    assert one.said[-1].endswith("projections.log ends with:\nprojections has a reason to end\n")


def test_settings_that_a_service_refuses_end_it_at_once_with_what_the_service_says(
    up: Callable[..., Up],
) -> None:
    one = up(broken="intake", code="3")
    assert one.ended() == 3
    assert one.said[-1].endswith("wallet-ledger: intake failed: intake has a reason to end\n")
    assert one.called().count("intake") == 1
    assert "died" not in one.said[-1]


WANTED_TWICE = {
    "LEDGER_METRICS_PORT": 0,
    "INTAKE_METRICS_PORT": 2,
    "KAFKA_PORT": 1,
    "POSTGRES_PORT": 3,
}


@pytest.mark.parametrize("name", WANTED_TWICE)
def test_a_port_for_two_is_one_line_before_anything_starts(up: Callable[..., Up], name: str) -> None:
    port = _four_free_ports()
    wanted = port + WANTED_TWICE[name]
    one = up(HTTP_PORT=str(port), **{name: str(wanted)})
    assert one.ended() == 3
    [line] = one.said[-1].splitlines()
    assert line.startswith(f"wallet-ledger: port {wanted} is wanted twice, by WALLET_LEDGER_")
    assert f"WALLET_LEDGER_{name}" in line
    assert not (one.data / "called.txt").exists()


@pytest.mark.parametrize(("name", "host_may_help"), [("KAFKA_PORT", False), ("INTAKE_METRICS_PORT", True)])
def test_a_taken_port_names_the_settings_that_help(
    up: Callable[..., Up], name: str, host_may_help: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = up(**{name: str(port)})
        assert one.ended() == 3
    [line] = one.said[-1].splitlines()
    assert f"port {port} of 127.0.0.1 is taken or cannot be used: set WALLET_LEDGER_{name} to an" in line
    assert line.endswith("or correct WALLET_LEDGER_HTTP_HOST" if host_may_help else "to another one")


@pytest.mark.parametrize("output", ["pipe", "terminal"])
def test_it_is_stopped_in_order_though_nobody_hears_it(up: Callable[..., Up], output: str) -> None:
    heard, spoken = os.pipe() if output == "pipe" else os.openpty()
    one = up(stdout=spoken, PLAY_VISITS="0")
    os.close(spoken)
    eventually((one.data / "ready.json").exists, what="ready")
    os.close(heard)  # perhaps while it still says so
    assert one.end(signal.SIGINT) == 130
    log = (one.data / "logs" / "postgres.log").read_text()  # the last one in the order of a stop
    assert "received fast shutdown request" in log
    assert "database system is shut down" in log
    assert not (one.data / "ready.json").exists()


def test_a_failed_migration_is_one_line(up: Callable[..., Up]) -> None:
    one = up(broken="migrate")
    assert one.ended() == 3, "its own"
    assert one.said[-1].endswith("wallet-ledger: migrate failed: migrate has a reason to end\n")


def test_kill_9_leaves_no_orphan_and_the_next_start_goes_on(up: Callable[..., Up]) -> None:
    one = up()
    one.ready()
    family = psutil.Process(one.process.pid).children(recursive=True)
    assert len(family) > 6
    one.process.kill()
    one.process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    again = up(broken="upstream")
    again.ready()
    again.until("upstream died 5 times in a minute and is given up")
    assert again.end() == 0, "and all the others run"


def test_ctrl_c_while_the_databases_files_are_made(up: Callable[..., Up]) -> None:
    one = up()
    eventually(
        lambda: [*one.data.glob("postgres/cluster.*/global/pg_control")], what="initdb in the midst of it"
    )
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.ended() == 130
    assert "failed" not in "".join(one.said)


def test_what_libpq_reads_elsewhere_is_not_meant_for_our_own_server(
    up: Callable[..., Up], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGSERVICE", "nobody-defined-it")
    one = up(PLAY_VISITS="0")
    one.ready()
    variables = psutil.Process(one.pid_of("ledger")).environ()
    assert not [name for name in variables if name.startswith("PG")]
    monkeypatch.setenv("WALLET_LEDGER_DATA_DIR", str(one.data))
    beside_it = beside("views_dsn").views_dsn.get_secret_value()
    psycopg.connect(beside_it, connect_timeout=5).close()  # a command in the same shell


def test_two_at_once_and_a_folder_in_use(up: Callable[..., Up]) -> None:
    one, other = up("one"), up("other", HTTP_HOST="127.0.0.2")
    assert one.ready()["base_url"] == f"http://127.0.0.1:{one.port}"
    assert other.ready()["base_url"] == f"http://127.0.0.2:{other.port}"
    third = up("one")
    assert third.ended() == 3
    assert f"is in use by process {one.process.pid}" in third.said[-1]
    fourth = up("fourth", HTTP_PORT=str(one.port))
    assert fourth.ended() == 3
    assert f"port {one.port} of 127.0.0.1 is taken" in fourth.said[-1]
    assert (one.data / "ready.json").exists()


def test_a_database_that_is_not_there_is_one_line(up: Callable[..., Up]) -> None:
    one = up(STORE_DSN="postgresql://me:hidden@127.0.0.1:1/x")
    assert one.ended() == 4
    assert re.fullmatch(r"wallet-ledger: PostgreSQL of \w+STORE_DSN \(127.0.0.1:1/x\) .*\n", one.said[-1])
    assert "hidden" not in one.said[-1]


def test_servers_and_secrets_of_others_are_used_and_not_fed(
    up: Callable[..., Up], kafka: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsns = {f"{name}_DSN": postgres for name in ("STORE", "VIEWS", "KEYS")}
    monkeypatch.setenv("PGSSLMODE", "prefer")
    configured = base64.b64encode(bytes(32)).decode()
    one = up(KAFKA_BOOTSTRAP=kafka, WEBHOOK_SECRET_KEY=configured, **dsns)
    ready = one.ready()
    assert ready["kafka"] == kafka
    assert ready["database"] == {"store": postgres, "views": postgres, "keys": postgres}
    assert psutil.Process(one.pid_of("ledger")).environ()["PGSSLMODE"] == "prefer"
    monkeypatch.setenv("WALLET_LEDGER_DATA_DIR", str(one.data))
    beside_it = beside("views_dsn", "webhook_secret_key", "key_encryption_key")
    assert beside_it.webhook_secret_key.get_secret_value() == configured
    made = json.loads((one.data / "secrets.json").read_text())
    assert beside_it.key_encryption_key.get_secret_value() == made["key_encryption_key"]
    assert one.end() == 0
    assert "upstream" not in one.called()
