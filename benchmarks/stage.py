"""The servers and processes that are measured: real ones, in a folder of their own, started as `up` starts them."""

import base64
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from events.ids import Tenant
from services import topics
from services.api.keys import Scope, create_key
from services.migrate import migrate
from services.settings import Settings
from services.standalone.environment import environment
from services.standalone.kafka import Kafka
from services.standalone.machine import CLI, DATABASES
from services.standalone.ports import free_port
from services.standalone.postgres import Postgres
from services.standalone.process import Server, StandaloneError, last_lines
from services.standalone.signals import STOPPING
from services.standalone.supervisor import Service

TENANT = Tenant("bus_bench", "test")
BASELINE = (sys.executable, "-m", "benchmarks.baseline")
PORT_OF = {
    "ledger": "ledger_metrics_port",
    "projections": "projections_metrics_port",
    "intake": "intake_metrics_port",
    "api": "http_port",
}
READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05


class Stage:
    """A context manager; everything that it started ends with it."""

    def __init__(self, parent: Path | None, api_processes: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wallet-ledger-bench-", dir=parent))
        self.folder.chmod(0o711)  # as root the database runs as another user
        self._api_processes = api_processes
        self.postgres = Postgres(self.folder / "postgres")
        self.kafka = Kafka(self.folder / "kafka")
        self.running: dict[str, Server] = {}
        self.settings = Settings()
        self.api_key = ""

    def __enter__(self) -> "Stage":
        """PostgreSQL and an API key; the rest when it is asked for."""
        for number in STOPPING:  # each ends as Ctrl-C does: what was started and the folder go
            signal.signal(number, signal.default_int_handler)
        try:
            self._start("postgres", self.postgres)
            self.postgres.wait_ready()
            dsns = {
                name: SecretStr(self.postgres.create_database(short)) for name, short in DATABASES.items()
            }
            secret = base64.b64encode(secrets.token_bytes(32)).decode()
            self.settings = Settings(
                data_dir=self.folder,
                log_level="warning",
                kafka_bootstrap=self.kafka.bootstrap,
                key_encryption_key=SecretStr(secret),
                request_hash_secret=SecretStr(secrets.token_urlsafe(32)),
                http_port=free_port(),
                http_processes=self._api_processes,
                ledger_metrics_port=free_port(),
                projections_metrics_port=free_port(),
                intake_metrics_port=free_port(),
            ).model_copy(update=dsns)
            migrate(self.settings)
            scopes = (Scope.READ, Scope.WRITE)
            _, self.api_key = create_key(
                self.dsn("views"), TENANT.business_id, TENANT.mode, "benchmark", scopes
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def dsn(self, name: str) -> str:
        """Of `store`, `views` or `keys`."""
        secret: SecretStr = getattr(self.settings, f"{name}_dsn")
        return secret.get_secret_value()

    def start_kafka(self) -> None:
        """With its topics; harmless when it runs."""
        if "kafka" not in self.running:
            self._start("kafka", self.kafka)
            self.kafka.wait_ready()
            topics.ensure(self.settings)

    def start(self, *names: str, wait: bool = True) -> None:
        """Some of ledger, projections, intake, api; those that run already are left alone."""
        started = [self._service(name) for name in names if name not in self.running]
        for service in started if wait else ():
            self._await(service)

    def worker(self, name: str) -> Service:
        """One of several ledger workers, not started: whoever asks for it starts and stops it."""
        port = free_port()
        settings = self.settings.model_copy(update={"ledger_metrics_port": port, "instance": name})
        service = self._made(name, (*CLI, "ledger"), settings, port)
        self.running[name] = service
        return service

    def stop(self, *names: str) -> None:
        """In the order given."""
        for name in names:
            if name in self.running:
                self.running.pop(name).stop()

    @contextmanager
    def baselines(self, dsn: str, count: int) -> Iterator[list[int]]:
        """So many processes of the baseline, each on a port of its own: clients spread evenly."""
        ports = [free_port() for _ in range(count)]
        names = [f"baseline-{number}" for number in range(count)]
        for name, port in zip(names, ports, strict=True):
            settings = self.settings.model_copy(update={"store_dsn": SecretStr(dsn), "http_port": port})
            self._start(name, self._made(name, BASELINE, settings, port))
        try:
            for name in names:
                server = self.running[name]
                assert isinstance(server, Service)
                self._await(server)
            yield ports
        finally:
            self.stop(*names)

    def check_alive(self) -> None:
        """Nothing that is measured may have died in between.

        Raises:
            StandaloneError: with the end of its log.
        """
        for name, server in self.running.items():
            if (code := server.returncode()) is not None:
                raise StandaloneError(f"{name} ended with code {code}:\n{last_lines(server.log)}")

    def _service(self, name: str) -> Service:
        port = getattr(self.settings, PORT_OF[name])
        service = self._made(name, (*CLI, name), self.settings, port)
        self._start(name, service)
        return service

    def _made(self, name: str, argv: tuple[str, ...], settings: Settings, port: int) -> Service:
        url, log = f"http://127.0.0.1:{port}", self.folder / f"{name}.log"
        return Service(name, argv, env=environment(settings), url=url, log=log)

    def _start(self, name: str, server: Server) -> None:
        server.start()
        self.running[name] = server

    def _await(self, service: Service) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not service.is_ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StandaloneError(f"{service.name} is not ready:\n{last_lines(service.log)}")
            time.sleep(_POLL_SECONDS)

    def _end(self) -> None:
        self.stop("api", "ledger", "projections", *reversed(self.running))
        place = self.postgres.place if self.postgres.folder.exists() else self.folder
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
