"""The steps of one start. Each leaves the settings more complete for the next; all processes get the same."""

import json
import secrets
import subprocess
import sys
from functools import partial

from pydantic import SecretStr

from services.mistakes import ExitCode, Mistake
from services.settings import ABOVE, Settings
from services.standalone.environment import environment, forget_libpq
from services.standalone.first_look import first_look
from services.standalone.folder import Folder, write_private
from services.standalone.kafka import Kafka
from services.standalone.ports import free_port, promise, url_here
from services.standalone.postgres import Postgres
from services.standalone.process import StandaloneError, last_lines, spawn
from services.standalone.reach import accepts, reach_database, reach_kafka
from services.standalone.supervisor import Child, Service, Supervisor
from services.standalone.voice import Voice
from services.standalone.welcome import welcome

CLI = (sys.executable, "-m", "services.cli")
DATABASES = {"store_dsn": "ledger", "views_dsn": "views", "keys_dsn": "keys"}
SECRETS = ("key_encryption_key", "webhook_secret_key", "request_hash_secret")
SCOPES = "read,write,refund,admin"
DEVELOPMENT_BUSINESS, DEVELOPMENT_MODE = "bus_dev", "test"
READY_SECONDS_MAX = 120.0


class Machine:
    """Kafka, PostgreSQL and the services, for as long as `run` runs."""

    def __init__(self, settings: Settings, folder: Folder, voice: Voice) -> None:
        self._folder = folder
        self._voice = voice
        self._say = voice.say
        self._supervisor = Supervisor(voice.say)
        self._settings = settings.model_copy(
            update={
                "data_dir": folder.path,
                "starts_when": str(folder.prepared),
                "upstream_mode": settings.upstream_mode or DEVELOPMENT_MODE,
                **{f"{service}_metrics_port": settings.metrics_port(service) for service in ABOVE},
            }
        )
        self._all_ours = not settings.kafka_bootstrap and not self._secret("store_dsn")
        self._embedded = False
        self._services: list[Service] = []

    def run(self) -> None:
        """Everything, until a signal interrupts it or a child cannot be kept alive."""
        promise(self._settings)
        try:
            self._settle_secrets()
            self._start_servers_and_prepare()
            self._await_services()
            api_key = self._api_key()
            self._play()
            self._announce(api_key)
            self._supervisor.run_until(lambda: False)
        finally:
            self._folder.ready.unlink(missing_ok=True)
            self._supervisor.stop()

    @property
    def base_url(self) -> str:
        """As a client on this machine reaches the api."""
        return url_here(self._settings.http_host, self._settings.http_port)

    def _secret(self, name: str) -> str:
        value: SecretStr = getattr(self._settings, name)
        return value.get_secret_value()

    def _update(self, name: str, value: object) -> None:
        self._settings = self._settings.model_copy(update={name: value})

    def _settle_secrets(self) -> None:
        """Those of the configuration win; the others are made once and kept in the data folder."""
        stored = self._folder.secrets()
        for name in SECRETS:
            if not self._secret(name):
                self._update(name, SecretStr(stored[name]))

    def _start_servers_and_prepare(self) -> None:
        """Servers of ours where the configuration names none; what can go on at the same time does."""
        missing = [name for name in DATABASES if not self._secret(name)]
        self._embedded = len(missing) == len(DATABASES)
        if self._embedded:  # else a DSN of the configuration may count on them
            forget_libpq()
        for name in set(DATABASES) - set(missing):
            reach_database(self._secret(name))
        if self._settings.kafka_bootstrap:
            reach_kafka(self._settings.kafka_bootstrap)
        postgres = self._start_postgres() if missing else None
        kafka = None if self._settings.kafka_bootstrap else self._start_kafka()
        if postgres is not None:
            postgres.wait_ready()
            for name in missing:
                self._update(name, SecretStr(postgres.create_database(DATABASES[name])))
            self._say(f"PostgreSQL on 127.0.0.1:{postgres.port}, its files in {postgres.place}")
        if kafka is not None:
            self._update("kafka_bootstrap", kafka.bootstrap)
        migrate = self._job("migrate")
        self._load_services()
        if kafka is not None:
            kafka.wait_ready()
            self._say(f"Kafka on {kafka.bootstrap}")
        for name, job in {"topics": self._job("topics"), "migrate": migrate}.items():
            self._require(name, job)
        self._folder.prepared.touch()
        self._say("databases and topics are as they must be")

    def _start_postgres(self) -> Postgres:
        self._say("starting PostgreSQL; the first time its files are made")
        folder, port = self._folder, self._settings.postgres_port
        server = Postgres(folder.path / "postgres", port=port, log=folder.log("postgres"))
        self._supervisor.start(server)
        return server

    def _start_kafka(self) -> Kafka:
        folder, port = self._folder, self._settings.kafka_port
        server = Kafka(folder.path / "kafka", port=port, log=folder.log("kafka"))
        self._supervisor.start(server)
        return server

    def _job(self, *arguments: str, visible: bool = False) -> subprocess.Popen[bytes]:
        """A command of ours that ends by itself; what it says goes to a fresh log, or to the person."""
        log = None if visible else self._folder.log(arguments[0])
        if log is not None:
            log.unlink(missing_ok=True)
        return spawn([*CLI, *arguments], log=log, env=environment(self._settings))

    def _finished(self, job: subprocess.Popen[bytes]) -> int:
        try:
            self._supervisor.run_until(lambda: job.poll() is not None)
        finally:
            job.kill()  # where it still runs, we were interrupted; only Linux ends it with us
        return job.returncode

    def _require(self, name: str, job: subprocess.Popen[bytes]) -> None:
        """Raises Mistake, what the job says of itself, where it fails."""
        if code := self._finished(job):
            said = last_lines(self._folder.log(name), 1).removeprefix("wallet-ledger: ")
            raise Mistake(
                f"{name} failed: {said}", ExitCode(code) if code in {*ExitCode} else ExitCode.DEFECT
            )

    def _load_services(self) -> None:
        """Together, while servers still start: they begin when all is prepared. Stopped in the reverse order: the api
        first, so that nobody asks who has left."""
        url = partial(url_here, self._settings.http_host)
        ports = {"ledger": self._settings.ledger_metrics_port}
        ports |= {f"ledger-{number}": free_port() for number in range(2, self._settings.ledger_workers + 1)}
        services = self._services
        services.append(self._service("projections", url(self._settings.projections_metrics_port)))
        for name, port in ports.items():
            services.append(self._service(name, url(port), ledger_metrics_port=port))
            if name != "ledger":
                self._say(f"{name} serves /metrics on {url(port)}")
        services.append(self._service("intake", url(self._settings.intake_metrics_port)))
        services.append(self._service("api", self.base_url))
        for service in services:
            self._supervisor.start(service)

    def _await_services(self) -> None:
        for service in self._services:
            if not self._supervisor.run_until(service.is_ready, READY_SECONDS_MAX):
                raise StandaloneError(
                    f"{service.name} is not ready after {READY_SECONDS_MAX:g} s; {service.log} ends with:\n"
                    f"{service.last_said()}"
                )
        self._say("ledger, projections, intake and api are ready")

    def _service(self, name: str, url: str, **own: object) -> Service:
        """`ledger-2` is another `ledger`; `own` are settings of it alone."""
        env = environment(self._settings.model_copy(update=own))
        return Service(name, [*CLI, name.partition("-")[0]], env=env, url=url, log=self._folder.log(name))

    def _api_key(self) -> str:
        """The development key: kept, unless the database does not know it (any more)."""
        stored = self._folder.secrets().get("api_key")
        if stored and accepts(self.base_url, stored):
            return stored
        log = self._folder.log("keys")
        name = f"development-{secrets.token_hex(3)}"  # a name has two live keys at most, and folders are made afresh
        options = (
            f"--business {DEVELOPMENT_BUSINESS} --mode {DEVELOPMENT_MODE} --name {name} --scopes {SCOPES}"
        )
        self._require("keys", self._job("keys", "create", *options.split(), "--json"))
        (answer,) = (line for line in log.read_text().splitlines() if '"api_key"' in line)
        key: str = json.loads(answer)["api_key"]
        log.unlink()
        self._folder.remember(api_key=key)
        return key

    def _play(self) -> None:
        """A business with a past, once, and its present for as long as we run; never into servers that are not ours."""
        visits = self._settings.play_visits
        if not self._all_ours or not visits:
            return
        journal = ("--journal", str(self._folder.played))
        if (
            not self._folder.played.exists()
            and self._finished(self._job("upstream", *journal, visible=True)) != 0
        ):
            self._say("the business could not be played: it goes on from where it was")
        argv = [*CLI, "upstream", "--days", "0", "--follow", str(visits), "--json", *journal]
        log = self._folder.log("upstream")
        self._supervisor.start(Child("upstream", argv, env=environment(self._settings), log=log), vital=False)

    def _announce(self, api_key: str) -> None:
        """For scripts, and for commands beside us, a file; for people a panel."""
        databases = {name.removesuffix("_dsn"): self._secret(name) for name in DATABASES}
        kafka = self._settings.kafka_bootstrap
        settled = {name: self._secret(name) for name in SECRETS}
        ready = {"base_url": self.base_url, "api_key": api_key, "kafka": kafka, "database": databases}
        write_private(self._folder.ready, {**ready, "embedded": self._embedded, "secrets": settled})
        rows = {
            "API": f"{self.base_url}, described at {self.base_url}/docs",
            "API key": api_key,
            "Kafka": kafka,
            "for scripts": str(self._folder.ready),
            "logs": str(self._folder.logs),
        }
        dsn = self._secret("views_dsn")
        look = first_look(dsn, DEVELOPMENT_BUSINESS, DEVELOPMENT_MODE, self._say)
        welcome(self._voice, rows, self.base_url, api_key, self._settings, look)
