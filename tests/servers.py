"""The real Kafka and PostgreSQL of a test run: those in the environment, or a pair of our own.

`python -m tests.servers --data FOLDER` keeps a pair up between runs; `. FOLDER/env` makes tests use it.
"""

import argparse
import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from services.standalone.kafka import Kafka
from services.standalone.postgres import Postgres

KAFKA = "WALLET_LEDGER_TEST_KAFKA"
POSTGRES = "WALLET_LEDGER_TEST_POSTGRES"


@dataclass(frozen=True)
class Servers:
    """Where the servers of this run are."""

    kafka: str  # bootstrap, host:port
    postgres: str  # URL for a superuser, of the database that new ones are made from


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Servers named in the environment are used and left alone; others run in `folder` meanwhile."""
    kafka, postgres = Kafka(folder / "kafka"), Postgres(folder / "postgres")
    given_kafka, given_postgres = os.environ.get(KAFKA), os.environ.get(POSTGRES)
    try:
        if not given_postgres:
            postgres.start()
        if not given_kafka:
            kafka.start()
            kafka.wait_ready()
        if not given_postgres:
            postgres.wait_ready()
        yield Servers(given_kafka or kafka.bootstrap, given_postgres or postgres.dsn())
    finally:
        kafka.stop()
        postgres.stop()


def fresh_database(server: str, name: str) -> str:
    """DSN of an empty database; an older one of that name is dropped with all its sessions."""
    with psycopg.connect(server, autocommit=True) as connection:
        identifier = sql.Identifier(name)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    parts = conninfo_to_dict(server)
    address = f"{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}"
    return f"postgresql://{address}/{name}"


def main() -> None:
    """Keep an empty pair up until SIGTERM or Ctrl-C: what earlier runs left there goes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder: Path = parser.parse_args().data
    folder.mkdir(parents=True, exist_ok=True)
    for server in ("kafka", "postgres"):
        shutil.rmtree(folder / server, ignore_errors=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    env = folder / "env"
    with running(folder) as servers:
        lines = {KAFKA: servers.kafka, POSTGRES: servers.postgres}
        env.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items()))
        print(f"ready: . {env}", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    env.unlink()


if __name__ == "__main__":
    main()
