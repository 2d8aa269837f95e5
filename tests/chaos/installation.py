"""What is swept: two ledger workers, projections, intake, api; links between them and the servers; small disks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from services.standalone.kafka import Kafka
from services.standalone.ports import free_port
from services.standalone.postgres import Postgres
from services.standalone.process import Server
from tests.chaos.disks import Disk
from tests.chaos.faults import LINKED
from tests.chaos.links import Network
from tests.running import Process, System, running

SHARDS = 8
BUSINESS = "biz_chaos"
MODE = "test"


class LinkedKafka(Kafka):
    """Tells the clients of each link to come back through that link."""

    def __init__(self, folder: Path, ports: dict[str, int], links: dict[str, int], log: Path) -> None:
        super().__init__(folder, log=log)
        self._ports = ports
        self._links = links

    def properties(self) -> str:
        """With a listener for each link; of a name that is there twice the later counts."""
        names = {name: f"L{number}" for number, name in enumerate(self._ports)}
        plain = f"PLAINTEXT://127.0.0.1:{self.port}"
        own = [f"{names[name]}://127.0.0.1:{port}" for name, port in self._ports.items()]
        told = [f"{names[name]}://127.0.0.1:{self._links[name]}" for name in self._ports]
        protocols = [
            "PLAINTEXT:PLAINTEXT",
            "CONTROLLER:PLAINTEXT",
            *(f"{n}:PLAINTEXT" for n in names.values()),
        ]
        controller = f"CONTROLLER://127.0.0.1:{self._controller_port}"
        return super().properties() + "\n".join([
            f"listeners={','.join([plain, controller, *own])}",
            f"advertised.listeners={','.join([plain, *told])}",
            f"listener.security.protocol.map={','.join(protocols)}",
            "",
        ])  # fmt: skip


class Installation:
    """Everything that can be hurt, by name."""

    def __init__(self, system: System, network: Network, disks: dict[str, Disk]) -> None:
        self.system = system
        self.network = network
        self.disks = disks
        self.ledgers = [self._service("ledger", name) for name in ("ledger-1", "ledger-2")]
        self.projections = self._service("projections", "projections")
        self.intake = system.service("intake")
        self.api = system.service("api")
        self.url = f"http://127.0.0.1:{self.api.port}"

    @property
    def services(self) -> list[Process]:
        return [*self.ledgers, self.projections, self.intake, self.api]

    @property
    def servers(self) -> list[Server]:
        return [self.system.kafka, self.system.postgres]

    def start(self) -> None:
        for process in self.services:
            process.start()
        for process in self.services:
            process.wait_ready()

    def _service(self, kind: str, name: str) -> Process:
        """Behind links of its own."""
        postgres = self.network.links[f"{name} to postgres"].port
        dsns = {
            field: SecretStr(_through(getattr(self.system.settings, field).get_secret_value(), postgres))
            for field in ("store_dsn", "views_dsn", "keys_dsn")
        }
        bootstrap = f"127.0.0.1:{self.network.links[f'{name} to kafka'].port}"
        return self.system.service(kind, name, kafka_bootstrap=bootstrap, **dsns)


@contextmanager
def installed() -> Iterator[Installation]:
    """Servers behind links, and on disks of their own where this machine allows it; no service runs yet."""
    links = [f"{process} to {server}" for process in LINKED for server in ("postgres", "kafka")]
    network = Network(links)
    disks: dict[str, Disk] = {}

    def prepare(system: System) -> None:
        ports = {name: free_port() for name in links if name.endswith("kafka")}
        told = {name: network.links[name].port for name in ports}
        system.kafka = LinkedKafka(system.folder / "kafka", ports, told, system.folder / "kafka.log")
        system.postgres = Postgres(system.folder / "postgres", log=system.folder / "postgres.log")
        for name in ("kafka", "postgres"):
            disk = Disk(system.folder / name)
            if disk.mount():
                disks[name] = disk
        network.start({**ports, **{name: system.postgres.port for name in links if name not in ports}})

    try:
        settings = {"command_deadline_seconds": 3.0, "upstream_mode": MODE}
        with running(SHARDS, prepare, **settings) as system:
            try:
                yield Installation(system, network, disks)
            finally:
                try:
                    system.stop()
                finally:
                    unmount(disks)
    finally:
        unmount(disks)
        network.stop()


def unmount(disks: dict[str, Disk]) -> None:
    """Harmless the second time."""
    for disk in disks.values():
        disk.unmount()


def _through(dsn: str, port: int) -> str:
    parts = conninfo_to_dict(dsn)
    return f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:{port}/{parts['dbname']}"
