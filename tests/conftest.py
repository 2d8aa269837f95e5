"""Fixtures for every tier; only tests that ask for a server start one."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from services.standalone import ports
from tests.__main__ import PROCESSES_MAX
from tests.servers import Servers, fresh_database, running

WIDTH = len(ports.PORTS) // PROCESSES_MAX
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES_MAX
ports.PORTS = ports.PORTS[PROCESS * WIDTH :][:WIDTH]
"""A server listens seconds after its port was found free: another process of tests must not find it, too."""

settings.register_profile("house", deadline=None)  # a busy machine is no finding
settings.load_profile("house")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """One real Kafka and one real PostgreSQL for the run; without them tests fail, they are never skipped."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        folder = Path(name)
        # as root the database runs as another user; pytest's own folders are closed to it
        folder.chmod(0o711)
        with running(folder) as pair:
            yield pair


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> str:
    """Bootstrap servers, host:port. Tests keep apart by topics of their own."""
    return servers.kafka


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> str:
    """URL of the server for a superuser. Tests keep apart by databases of their own."""
    return servers.postgres


@pytest.fixture
def database(postgres: str) -> Callable[[str], str]:
    """Make an empty database for this test: `database("views")` answers its DSN.

    It stays: a drop makes the server write a checkpoint, which slows all tests beside this one.
    """
    mark = secrets.token_hex(4)
    return lambda name: fresh_database(postgres, f"{name}_{mark}")
