"""A whole system for a test: servers of its own to kill and freeze, and services as real processes."""

import base64
import json
import os
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError

import psycopg
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from psycopg.rows import TupleRow
from pydantic import SecretStr

from services.migrate import migrate
from services.settings import Settings
from services.standalone.environment import environment
from services.standalone.kafka import Kafka
from services.standalone.ports import free_port
from services.standalone.postgres import Postgres
from services.standalone.process import Server, StandaloneError, last_lines
from services.standalone.supervisor import Service
from services.topics import ensure

READY_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05
PORTS = {
    "ledger": "ledger_metrics_port",
    "projections": "projections_metrics_port",
    "intake": "intake_metrics_port",
    "api": "http_port",
}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

T = TypeVar("T")


def eventually(
    probe: Callable[[], T | None], seconds: float = READY_SECONDS_MAX, *, what: str = "condition"
) -> T:
    """The first answer of `probe` that is true; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(POLL_SECONDS)
    return found


def samples(port: int) -> list[Sample]:
    """What a process on this port tells of itself; nothing where it does not answer."""
    try:
        with _direct.open(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


class Process(Service):
    """One service process of a test, with its metrics."""

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples that carry these labels; 0 where the process does not answer."""
        return sum(
            sample.value
            for sample in samples(self.port)
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def problems(self) -> dict[str, str]:
        """What `/readyz` names; empty when it is ready."""
        try:
            with _direct.open(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                assert answer.status == 200
                return {}
        except HTTPError as error:
            found: dict[str, str] = json.load(error)["problems"]
            return found

    def said(self, *words: str, since: int = 0) -> bool:
        """Whether a line of its log, from byte `since` on, holds all the words."""
        with self.log.open("rb") as file:
            file.seek(since)
            return any(all(word in line for word in words) for line in file.read().decode().splitlines())

    def wait_ready(self, seconds: float = READY_SECONDS_MAX) -> None:
        """Until `/readyz` says so."""

        def ready() -> bool:
            assert self.returncode() is None, f"{self.name} ended: {last_lines(self.log)}"
            return self.is_ready()

        eventually(ready, seconds, what=f"{self.name} ready")


class System:
    """Kafka, PostgreSQL, three databases, topics; services are started by the test."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.kafka = Kafka(folder / "kafka")
        self.postgres = Postgres(folder / "postgres")
        self.settings = settings
        self._processes: list[Process] = []

    def start_servers(self) -> None:
        for server in (self.postgres, self.kafka):
            server.start()
        self.postgres.wait_ready()
        databases = {
            f"{name}_dsn": SecretStr(self.postgres.create_database(name))
            for name in ("store", "views", "keys")
        }
        self.settings = self.settings.model_copy(update=databases)
        migrate(self.settings)
        self.kafka.wait_ready()
        self.settings = self.settings.model_copy(update={"kafka_bootstrap": self.kafka.bootstrap})
        ensure(self.settings)

    def service(self, kind: str, name: str = "", **overrides: object) -> Process:
        """A process of `wallet-ledger <kind>`, not started; `overrides` are settings of it alone."""
        port = free_port()
        values = {PORTS[kind]: port, "instance": name or kind} | overrides
        settings = self.settings.model_copy(update=values)
        process = Process(
            name or kind,
            [sys.executable, "-m", "services.cli", kind],
            env=environment(settings) | {"PYTHONPATH": os.getcwd()},
            url=f"http://127.0.0.1:{port}",
            log=self.folder / f"{name or kind}.log",
        )
        self._processes.append(process)
        return process

    def started(self, kind: str, name: str = "", **overrides: object) -> Process:
        """The same, started and ready."""
        process = self.service(kind, name, **overrides)
        process.start()
        process.wait_ready()
        return process

    def kill_services(self, *names: str) -> None:
        """Those of these names that run."""
        ended = [process for process in self._processes if process.name in names]
        _kill(ended)
        self._processes = [process for process in self._processes if process not in ended]

    def store(self) -> psycopg.Connection[TupleRow]:
        """A session of the test on the event store."""
        return psycopg.connect(self.settings.store_dsn.get_secret_value(), autocommit=True)

    def views(self) -> psycopg.Connection[TupleRow]:
        """A session of the test on the read models."""
        return psycopg.connect(self.settings.views_dsn.get_secret_value(), autocommit=True)

    def heal(self) -> None:
        """Services gone, servers up: whatever a test did to them."""
        _kill(self._processes)
        while self._processes:
            self._processes.pop().log.unlink(missing_ok=True)
        for server in (self.kafka, self.postgres):
            server.thaw()
            if server.returncode() is not None:
                server.start()
            server.wait_ready()

    def stop(self) -> None:
        """Everything that still runs; nothing here needs an orderly end."""
        _kill([*self._processes, self.kafka, self.postgres])


def _kill(servers: Sequence[Server]) -> None:
    for server in servers:
        with suppress(StandaloneError):  # it was never started
            server.kill()


@contextmanager
def running(
    shards: int = 4, prepare: Callable[[System], None] | None = None, **settings: object
) -> Iterator[System]:
    """Servers, schema and topics, ready for services. Not in pytest's folders: those are closed to the database.

    `prepare` may put other servers in, before they start."""
    made: Mapping[str, object] = {
        "shards": shards,
        "key_encryption_key": SecretStr(base64.b64encode(secrets.token_bytes(32)).decode()),
        "webhook_secret_key": SecretStr(base64.b64encode(secrets.token_bytes(32)).decode()),
        "request_hash_secret": SecretStr(secrets.token_urlsafe(32)),
    }
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        system = System(folder, Settings().model_copy(update={**made, **settings}))
        try:
            if prepare is not None:
                prepare(system)
            system.start_servers()
            yield system
        finally:
            system.stop()
