"""Topics on a real broker: made once, checked always, and never altered behind an operator's back."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from events.topics import COMMANDS, DEAD_LETTERS, EVENTS, REPLIES, TOPICS
from services.migrate import migrate_database
from services.settings import Settings
from services.standalone.environment import environment
from services.standalone.kafka import Kafka
from services.standalone.ports import free_port
from services.topics import WrongTopic, check, ensure, ensure_topics, topic_configuration

SHARDS = 4
SECRETS = {"key_encryption_key": SecretStr("A" * 43 + "="), "request_hash_secret": SecretStr("any")}


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """A broker of this module's own: the names of the topics are the same for everybody."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as folder:
        kafka = Kafka(Path(folder) / "kafka")
        try:
            kafka.start()
            kafka.wait_ready()
            yield kafka.bootstrap
        finally:
            kafka.stop()


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _delete_all(bootstrap: str) -> None:
    async with _admin(bootstrap) as admin:
        while found := {topic.name for topic in TOPICS} & set(await admin.list_topics()):
            await admin.delete_topics(sorted(found))


async def _create(bootstrap: str, topic: NewTopic) -> None:
    async with _admin(bootstrap) as admin:
        await admin.create_topics([topic])


async def _configure(bootstrap: str, topic: str, configuration: dict[str, str]) -> None:
    """Returns when the broker shows what it accepted."""
    async with _admin(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configuration)])
        while True:
            (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            if configuration.items() <= {entry[0]: entry[1] for entry in answer.resources[0][4]}.items():
                return


@pytest.fixture
def settings(broker: str) -> Settings:
    """A broker without our topics."""
    asyncio.run(_delete_all(broker))
    return Settings(kafka_bootstrap=broker, shards=SHARDS)


def test_topics_are_made_once(settings: Settings) -> None:
    assert ensure(settings) == [
        "ledger.commands: made, 4 partitions",
        "ledger.events: made, 4 partitions",
        "ledger.replies: made, 8 partitions",
        "payments.events: made, 8 partitions",
        "payments.requests: made, 4 partitions",
        "ledger.dead-letters: made, 1 partitions",
    ]
    check(settings)
    assert all("as it must be" in line for line in ensure(settings))


def test_two_at_once_make_them_once(settings: Settings) -> None:
    async def both() -> None:
        await asyncio.gather(ensure_topics(settings), ensure_topics(settings))

    asyncio.run(both())
    check(settings)


def test_a_missing_topic_is_named(settings: Settings) -> None:
    with pytest.raises(WrongTopic, match=r"topic ledger\.commands is missing: run `wallet-ledger topics`"):
        check(settings)


def test_another_partition_count_is_refused(settings: Settings) -> None:
    ensure(settings)
    other = settings.model_copy(update={"shards": 8})
    for refuse in (check, ensure):
        with pytest.raises(WrongTopic, match=r"ledger\.commands has 4 partitions and must have 8 for ever"):
            refuse(other)


@pytest.mark.parametrize("service", ["api", "intake", "ledger", "projections"])
def test_no_service_works_on_other_topics(
    service: str, settings: Settings, database: Callable[[str], str]
) -> None:
    ensure(settings)
    keys = database("keys")  # the others are not asked before the topics
    migrate_database("keys", keys, SHARDS)
    dsns = {f"{name}_dsn": SecretStr(keys) for name in ("store", "views", "keys")}
    other = settings.model_copy(update={**dsns, **SECRETS, "shards": 8, "http_port": free_port()})
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", service],
        env=environment(other) | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 5
    [line] = done.stderr.splitlines()
    assert line.startswith("wallet-ledger: topic ledger.commands has 4 partitions and must have 8 for ever")
    assert "WALLET_LEDGER_SHARDS" in line


def test_a_partition_count_that_only_the_events_have_is_refused(settings: Settings) -> None:
    wrong = NewTopic(EVENTS.name, 3, 1, topic_configs=topic_configuration(EVENTS, 1))
    asyncio.run(_create(settings.kafka_bootstrap, wrong))
    with pytest.raises(WrongTopic, match=r"ledger\.events has 3 partitions"):
        ensure(settings)


def test_fewer_copies_than_wanted_are_refused(settings: Settings) -> None:
    ensure(settings)
    with pytest.raises(WrongTopic, match="replication 1 and must have 3"):
        check(settings.model_copy(update={"kafka_replication_factor": 3}))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("cleanup.policy", "compact"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_events_that_could_be_lost_are_refused(name: str, wrong: str, settings: Settings) -> None:
    ensure(settings)
    changed = topic_configuration(EVENTS, 1) | {name: wrong}
    asyncio.run(_configure(settings.kafka_bootstrap, EVENTS.name, changed))
    with pytest.raises(WrongTopic, match=rf"ledger.events has {name}={wrong} and must have {name}="):
        check(settings)


def test_with_three_copies_two_must_be_in_sync() -> None:
    for topic in TOPICS:
        assert topic_configuration(topic, 3)["min.insync.replicas"] == "2"
        assert topic_configuration(topic, 1)["min.insync.replicas"] == "1"


def test_events_are_for_ever_and_personal_data_is_not() -> None:
    assert topic_configuration(EVENTS, 3)["retention.ms"] == "-1"
    for topic in (COMMANDS, REPLIES, DEAD_LETTERS):
        found = topic_configuration(topic, 3)
        kept = int(found["retention.ms"]) + int(found["segment.ms"])
        assert 0 < kept <= 31 * 24 * 60 * 60 * 1000
