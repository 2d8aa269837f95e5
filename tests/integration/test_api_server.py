"""The api as a process: it starts or says why not, survives hostile bytes, drains and leaves."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from services.api.keys import create_key
from services.api.protocol import HEAD_BYTES_MAX
from services.migrate import migrate_database
from services.settings import Settings
from services.standalone.kafka import Kafka
from services.standalone.ports import free_port, port_is_free
from services.topics import ensure
from tests.servers import fresh_database

SHARDS = Settings.model_fields["shards"].default
START_SECONDS_MAX = 60


class Process:
    """`wallet-ledger api` as a child."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        self.port = int(environment["WALLET_LEDGER_HTTP_PORT"])
        self.base_url = f"http://127.0.0.1:{self.port}"
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "services.cli", "api"],
                env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
                stdout=output,
                stderr=output,
            )

    def wait_ready(self) -> None:
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self.child.poll() is None:
            try:
                if httpx.get(f"{self.base_url}/livez").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail(f"the api did not start: {self.log.read_text()}")

    def end(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(15)

    def send(self, data: bytes) -> bytes:
        """Raw bytes, and all that comes back until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=3) as connection:
            received = b""
            try:
                connection.sendall(data)
                while chunk := connection.recv(65_536):
                    received += chunk
            except (TimeoutError, ConnectionError):
                pass
            return received


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A broker of our own: nobody may answer the commands of these tests."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as folder:
        made = Kafka(Path(folder) / "kafka")
        made.start()
        made.wait_ready()
        ensure(Settings(kafka_bootstrap=made.bootstrap))
        yield made.bootstrap
        made.stop()


@pytest.fixture(scope="module")
def environment(broker: str, postgres: str) -> dict[str, str]:
    views = fresh_database(postgres, "api_server_views")
    migrate_database("views", views, SHARDS)
    settings = {"KAFKA_BOOTSTRAP": broker, "VIEWS_DSN": views, "HTTP_PORT": str(free_port())}
    return {f"WALLET_LEDGER_{name}": value for name, value in settings.items()}


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[Process]:
    process = Process(environment, log)
    try:
        process.wait_ready()
        yield process
    finally:
        if process.child.poll() is None:
            process.child.kill()
            process.child.wait()


@pytest.fixture(scope="module")
def shared(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One process for the tests that leave it as it was."""
    with running(environment, tmp_path_factory.mktemp("api") / "api.log") as process:
        yield process


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """A process of the test's own."""
    with running(
        {**environment, "WALLET_LEDGER_HTTP_PORT": str(free_port())}, tmp_path / "api.log"
    ) as process:
        yield process


@pytest.fixture
def key(environment: dict[str, str]) -> str:
    return create_key(environment["WALLET_LEDGER_VIEWS_DSN"], "bus_one", "test", secrets.token_hex(4))[1]


def test_it_serves_and_leaves_in_order(api: Process, key: str) -> None:
    with httpx.Client(base_url=api.base_url, headers={"authorization": f"Bearer {key}"}) as client:
        assert client.get("/customers").json() == {"items": []}
        assert set(client.get("/readyz").json()["problems"]) == {"projections"}
        assert "wallet_ledger_api_request_seconds" in client.get("/metrics").text
        assert client.get("/docs/docs.css").status_code == 200
    assert api.end() == 0
    assert key not in api.log.read_text()


def test_refusals_count_for_who_stands_behind_a_trusted_proxy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    settings = {"HTTP_PORT": str(free_port()), "HTTP_TRUSTED_PROXIES": '["127.0.0.0/8"]'}
    settings |= {"RATE_LIMIT_REFUSED_PER_SECOND": "1", "RATE_LIMIT_REFUSED_BURST": "1"}
    changed = {f"WALLET_LEDGER_{name}": value for name, value in settings.items()}
    with running(environment | changed, tmp_path / "api.log") as process:

        def asks(address: str) -> int:
            headers = {"x-forwarded-for": address}
            return httpx.get(f"{process.base_url}/customers", headers=headers).status_code

        told = [asks(address) for address in ("198.51.100.1", "198.51.100.1", "198.51.100.2")]
        assert told == [401, 429, 401]


def test_a_request_in_progress_is_answered_before_it_leaves(api: Process, key: str) -> None:
    """No ledger runs here: the command waits for its reply while the process is told to stop."""

    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(base_url=api.base_url, timeout=15) as client:
            asked = asyncio.create_task(
                client.post(
                    "/customers", json={"name": "A", "email": "e"}, headers={"authorization": f"Bearer {key}"}
                )
            )
            while "commands_in_flight 1.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            api.child.send_signal(signal.SIGTERM)
            return await asked

    answer = asyncio.run(scenario())
    assert (answer.status_code, answer.json()["code"]) == (504, "OUTCOME_UNKNOWN")
    assert answer.headers["x-should-retry"] == "false"
    assert api.child.wait(10) == 0


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        b"POST /customers HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /customers HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /customers HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_hostile_bytes_get_a_4xx_or_nothing(shared: Process, head: bytes) -> None:
    received = shared.send(head)
    assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:200]
    if received and b"application/json" in received:
        assert set(json.loads(received.partition(b"\r\n\r\n")[2])) == {"code", "message"}
    assert httpx.get(f"{shared.base_url}/livez").status_code == 200
    assert "Traceback" not in shared.log.read_text()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n",
        b"GET /" + b"a" * (HEAD_BYTES_MAX + 1) + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n"
        + b"".join(b"x%d: 1\r\n" % number for number in range(200))
        + b"\r\n",
    ],
    ids=["a long header", "a long path", "many headers"],
)
def test_a_head_has_an_end(shared: Process, head: bytes) -> None:
    received = shared.send(head)
    assert received.startswith(b"HTTP/1.1 431 "), received[:200]
    assert b"\r\nx-frame-options: DENY\r\n" in received
    assert b"\r\ncontent-security-policy: " in received
    assert json.loads(received.partition(b"\r\n\r\n")[2])["code"] == "HEADERS_TOO_LARGE"
    assert httpx.get(f"{shared.base_url}/livez").status_code == 200


def test_an_endless_body_is_refused_in_bounded_memory(shared: Process, key: str) -> None:
    before = psutil.Process(shared.child.pid).memory_info().rss

    def endless() -> Iterator[bytes]:
        for _ in range(2_000):
            yield b" " * 65_536

    answer = httpx.post(
        f"{shared.base_url}/customers",
        content=endless(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert psutil.Process(shared.child.pid).memory_info().rss - before < 20 * 1024 * 1024


def test_a_taken_port_is_one_line(shared: Process, environment: dict[str, str], tmp_path: Path) -> None:
    second = Process(environment, tmp_path / "second.log")
    assert second.child.wait(START_SECONDS_MAX) not in (0, 1)
    assert len(second.log.read_text().strip().splitlines()) == 1
    assert "port" in second.log.read_text()


WRONG = {
    "a database without tables": ("VIEWS_DSN", "{empty}", 5, "run `wallet-ledger migrate`"),
    "no Kafka": ("KAFKA_BOOTSTRAP", "127.0.0.1:{nowhere}", 4, "WALLET_LEDGER_KAFKA_BOOTSTRAP"),
}


def ended(process: Process) -> int:
    """Its exit code; nothing that it started is left behind."""
    started: set[psutil.Process] = set()
    parent, until = psutil.Process(process.child.pid), time.monotonic() + START_SECONDS_MAX
    while process.child.poll() is None:
        assert time.monotonic() < until, "it stays"
        with suppress(psutil.NoSuchProcess):
            started.update(parent.children(recursive=True))
        time.sleep(0.02)
    assert psutil.wait_procs(started, timeout=10)[1] == []
    return int(process.child.returncode)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_line_of_several_processes(
    environment: dict[str, str], postgres: str, tmp_path: Path, wrong: str
) -> None:
    name, value, code, told = WRONG[wrong]
    empty = fresh_database(postgres, "api_server_empty")
    text = value.format(empty=empty, nowhere=free_port())
    settings = {"HTTP_PROCESSES": "2", "HTTP_PORT": str(free_port()), name: text}
    changed = {f"WALLET_LEDGER_{name}": value for name, value in settings.items()}
    process = Process(environment | changed, tmp_path / "api.log")
    assert ended(process) == code, process.log.read_text()
    [line] = process.log.read_text().splitlines()
    assert told in line


@pytest.mark.parametrize("processes", ["1", "2"])
def test_read_models_with_other_shards_are_one_line(
    environment: dict[str, str], postgres: str, tmp_path: Path, processes: str
) -> None:
    views = fresh_database(postgres, "api_server_other_shards")
    migrate_database("views", views, SHARDS + 1)
    other = {"VIEWS_DSN": views, "HTTP_PORT": str(free_port()), "HTTP_PROCESSES": processes}
    process = Process(
        environment | {f"WALLET_LEDGER_{name}": value for name, value in other.items()}, tmp_path / "api.log"
    )
    assert ended(process) == 5
    [line] = process.log.read_text().splitlines()
    assert f"has {SHARDS + 1} shards for ever" in line
    assert "WALLET_LEDGER_SHARDS" in line


def test_several_processes_share_a_port_and_its_numbers(
    environment: dict[str, str], key: str, tmp_path: Path
) -> None:
    two = {**environment, "WALLET_LEDGER_HTTP_PROCESSES": "2", "WALLET_LEDGER_HTTP_PORT": str(free_port())}
    process = Process(two, tmp_path / "api.log")
    process.wait_ready()
    children = psutil.Process(process.child.pid).children(recursive=True)
    for _ in range(20):
        answer = httpx.get(f"{process.base_url}/customers", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    line = 'api_request_seconds_count{method="GET",route="/customers",status="2xx"} 20.0'
    assert line in httpx.get(f"{process.base_url}/metrics").text
    assert process.end() == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize(("victim", "code"), [("the parent", -signal.SIGKILL), ("a child", 1)])
def test_of_several_processes_none_outlives_another(
    environment: dict[str, str], tmp_path: Path, victim: str, code: int
) -> None:
    two = {**environment, "WALLET_LEDGER_HTTP_PROCESSES": "2", "WALLET_LEDGER_HTTP_PORT": str(free_port())}
    process = Process(two, tmp_path / "api.log")
    process.wait_ready()
    children = psutil.Process(process.child.pid).children(recursive=True)
    serving = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    (process.child if victim == "the parent" else serving[0]).kill()
    assert process.child.wait(10) == code
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize("stage", ["they load", "they connect"])
def test_of_several_processes_none_is_left_while_they_start(
    environment: dict[str, str], tmp_path: Path, stage: str
) -> None:
    """They hold the port: the api that is started again could not have it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(START_SECONDS_MAX)
        settings = {"KAFKA_BOOTSTRAP": f"127.0.0.1:{silent.getsockname()[1]}"}
        settings |= {"HTTP_PROCESSES": "2", "HTTP_PORT": str(free_port())}
        changed = {f"WALLET_LEDGER_{name}": value for name, value in settings.items()}
        process = Process(environment | changed, tmp_path / "api.log")
        started: list[psutil.Process] = []
        while sum("spawn_main" in " ".join(child.cmdline()) for child in started) < 2:
            started = psutil.Process(process.child.pid).children(recursive=True)
        if stage == "they connect":
            connections = [silent.accept()[0] for _ in range(2)]
        process.child.kill()
        process.child.wait()
        _, alive = psutil.wait_procs(started, timeout=5)
        for left in alive:
            left.kill()
        assert alive == []
        assert port_is_free(process.port)
        if stage == "they connect":
            for connection in connections:
                connection.close()
