"""Each suite runs against memory and against the real server: they must not be told apart."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.migrate import migrate_database
from services.settings import Settings
from services.standalone.kafka import Kafka
from services.topics import ensure
from tests.contract import brokers, stores


@pytest.fixture(params=["memory", "postgres"])
def store_lab(request: pytest.FixtureRequest) -> stores.StoreLab:
    if request.param == "memory":
        return stores.MemoryLab()
    database: Callable[[str], str] = request.getfixturevalue("database")
    dsn = database("contract")
    migrate_database("store", dsn, stores.SHARDS)
    return stores.PostgresLab(dsn)


@pytest.fixture(scope="package")
def own_kafka() -> Iterator[str]:
    """The names of topics are fixed, so this suite has a broker for itself."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        kafka = Kafka(Path(name) / "kafka")
        try:
            kafka.start()
            kafka.wait_ready()
            ensure(Settings(kafka_bootstrap=kafka.bootstrap, shards=brokers.SHARDS))
            yield kafka.bootstrap
        finally:
            kafka.stop()


@pytest.fixture(params=["memory", "kafka"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Where the broker is; empty: in memory."""
    return "" if request.param == "memory" else str(request.getfixturevalue("own_kafka"))


@pytest.fixture
async def broker_lab(bootstrap: str) -> AsyncIterator[brokers.BrokerLab]:
    if not bootstrap:
        yield brokers.MemoryLab()
        return
    lab = brokers.KafkaLab(bootstrap)
    await lab.open()
    try:
        yield lab
    finally:
        await asyncio.wait_for(lab.close(), 20)
