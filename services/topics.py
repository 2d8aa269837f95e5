"""Make the topics, and refuse to work on wrong ones: the partition count is in sequences and chains."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from events.topics import DEAD_LETTERS, EVENTS, PAYMENTS, TOPICS, Topic, partitions
from services.kafka import client_options
from services.mistakes import ExitCode, Mistake
from services.settings import Settings

BROKERS_FOR_REPLICATION = 3
SEGMENT_MS_MAX = 24 * 60 * 60 * 1000
RECORD_BYTES_MAX = 1024 * 1024
DEAD_LETTER_BYTES_MAX = 2 * RECORD_BYTES_MAX
"""A dead letter carries a whole record in base64."""

_VISIBLE_SECONDS_MAX = 20.0
_REQUEST_MS_MAX = 10_000


class WrongTopic(Mistake):
    """A topic is missing, or is not as every process relies on it to be."""

    exit_code = ExitCode.MISFIT


def ensure(settings: Settings) -> list[str]:
    """Blocking form of `ensure_topics`."""
    return asyncio.run(ensure_topics(settings))


def check(settings: Settings) -> None:
    """Blocking form of `check_topics`."""
    asyncio.run(check_topics(settings))


async def ensure_topics(settings: Settings) -> list[str]:
    """Make what is missing, then check all; one line for each topic. Safe to run again, and by two at once.

    Raises:
        WrongTopic: one exists already and is otherwise: nothing is altered behind an operator's back.
    """
    async with _admin(settings) as admin:
        replication = await _replication(admin, settings)
        found = await _described(admin)
        missing = [topic for topic in TOPICS if topic.name not in found]
        if missing:
            await _create(admin, missing, settings.shards, replication)
            await _until_visible(admin, missing)
        await _check(admin, settings.shards, replication)
    return [_line(topic, settings.shards, made=topic in missing) for topic in TOPICS]


async def check_topics(settings: Settings) -> None:
    """What every process does before it works.

    Raises:
        WrongTopic: with one line that says which, what is wrong and what to do.
    """
    async with _admin(settings) as admin:
        await _check(admin, settings.shards, await _replication(admin, settings))


def topic_configuration(topic: Topic, replication: int) -> dict[str, str]:
    """The configuration of a topic on a cluster with this replication."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(DEAD_LETTER_BYTES_MAX if topic is DEAD_LETTERS else RECORD_BYTES_MAX),
        "min.insync.replicas": str(_insync(replication)),
        "unclean.leader.election.enable": "false",
        # upstream is told that we have it, and there is no second copy
        **({"flush.messages": "1"} if topic is PAYMENTS and replication == 1 else {}),
        # what expires is deleted by whole segments: without this, personal data would outlive its retention
        **({} if topic.retention_ms < 0 else {"segment.ms": str(min(topic.retention_ms, SEGMENT_MS_MAX))}),
    }


def _insync(replication: int) -> int:
    """One replica may be away while all acknowledged records have a second copy."""
    return max(1, replication - 1)


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(request_timeout_ms=_REQUEST_MS_MAX, **client_options(settings))
    chatter = logging.getLogger("aiokafka")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)  # what goes wrong is raised, and told in one line
    try:
        await admin.start()
        yield admin
    finally:
        try:
            await admin.close()
        finally:
            chatter.setLevel(level)


async def _replication(admin: AIOKafkaAdminClient, settings: Settings) -> int:
    if settings.kafka_replication_factor:
        return settings.kafka_replication_factor
    brokers = len((await admin.describe_cluster())["brokers"])
    return BROKERS_FOR_REPLICATION if brokers >= BROKERS_FOR_REPLICATION else 1


async def _described(admin: AIOKafkaAdminClient) -> dict[str, dict[str, Any]]:
    """All topics by name: asking for one by name would create it where the broker creates on demand."""
    return {topic["topic"]: topic for topic in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], shards: int, replication: int) -> None:
    wanted = [
        NewTopic(
            topic.name,
            partitions(topic, shards),
            replication,
            topic_configs=topic_configuration(topic, replication),
        )
        for topic in topics
    ]
    answer = await admin.create_topics(wanted)
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            said = rest[0] if rest and rest[0] else error.description
            raise WrongTopic(f"topic {name} could not be made: {said}")


async def _until_visible(admin: AIOKafkaAdminClient, topics: list[Topic]) -> None:
    """A created topic shows, with a leader for each partition, only after the brokers have heard of it."""
    names = {topic.name for topic in topics}
    try:
        async with asyncio.timeout(_VISIBLE_SECONDS_MAX):
            while True:
                found = await _described(admin)
                leaders = [p["leader"] for name in names & found.keys() for p in found[name]["partitions"]]
                if names <= found.keys() and leaders and min(leaders) >= 0:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise WrongTopic(
            f"no leader for {', '.join(sorted(names))} {_VISIBLE_SECONDS_MAX:.0f} s after they were made"
        ) from error


async def _check(admin: AIOKafkaAdminClient, shards: int, replication: int) -> None:
    found = await _described(admin)
    for topic in TOPICS:
        if topic.name not in found:
            raise WrongTopic(f"topic {topic.name} is missing: run `wallet-ledger topics`")
    configured = await _configured(admin)
    for topic in TOPICS:
        _check_shape(topic, found[topic.name]["partitions"], partitions(topic, shards), replication)
        _check_configuration(topic, configured[topic.name], replication)


def _check_shape(topic: Topic, found: list[dict[str, Any]], wanted: int, replication: int) -> None:
    if len(found) != wanted:
        raise WrongTopic(
            f"topic {topic.name} has {len(found)} partitions and must have {wanted} for ever: "
            "set WALLET_LEDGER_SHARDS to what this ledger was made with, or name the right cluster"
        )
    copies = min(len(partition["replicas"]) for partition in found)
    if copies < replication:
        raise WrongTopic(
            f"topic {topic.name} has replication {copies} and must have {replication}: "
            "reassign its partitions, or accept fewer copies by WALLET_LEDGER_KAFKA_REPLICATION_FACTOR"
        )


def _check_configuration(topic: Topic, found: Mapping[str, str], replication: int) -> None:
    wanted = {
        name: value
        for name, value in topic_configuration(topic, replication).items()
        if name in ("cleanup.policy", "unclean.leader.election.enable")
        or (topic is EVENTS and name.startswith("retention."))
    }
    for name, value in wanted.items():
        if found[name] != value:
            raise _misconfigured(topic, name, found[name], value)
    if int(found["min.insync.replicas"]) < _insync(replication):
        raise _misconfigured(
            topic, "min.insync.replicas", found["min.insync.replicas"], str(_insync(replication))
        )


def _misconfigured(topic: Topic, name: str, found: str, wanted: str) -> WrongTopic:
    return WrongTopic(
        f"topic {topic.name} has {name}={found} and must have {name}={wanted}: "
        f"kafka-configs.sh --alter --topic {topic.name} --add-config {name}={wanted}"
    )


async def _configured(admin: AIOKafkaAdminClient) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in TOPICS]
    configured = {}
    for answer in await admin.describe_configs(resources):
        for code, _, _, name, entries in answer.resources:
            if code:
                raise WrongTopic(
                    f"the configuration of topic {name} is not shown: {for_code(code).description}"
                )
            configured[name] = {entry[0]: entry[1] for entry in entries}
    return configured


def _line(topic: Topic, shards: int, *, made: bool) -> str:
    return f"{topic.name}: {'made' if made else 'as it must be'}, {partitions(topic, shards)} partitions"
