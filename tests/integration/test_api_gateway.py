"""The gateway on a real broker: answers, deadlines, bounds, and what it does while Kafka is away."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic, time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from events.codec import decode_command, encode_ask, micros
from events.commands import GRACE_SECONDS, Command, CreditWallet, Origin
from events.replies import Outcome, Reply
from services.api import gateway as gateway_module
from services.api.breaker import UNACKNOWLEDGED_SECONDS_MAX
from services.api.gateway import KafkaGateway
from services.api.ports import NotHandedOver, OutcomeUnknown
from services.api.webhooks import publisher as webhook_publisher
from services.api.webhooks.door import NotPublished
from services.api.webhooks.publisher import KafkaPublisher
from services.settings import Settings
from services.standalone.kafka import Kafka
from tests.integration.api_ledger import TinyLedger, Topics, tiny_ledger

SHARDS = 4
DEADLINE = 1.0
CREDIT = CreditWallet(currency="USD", amount=5)


@pytest.fixture(scope="module")
def broker() -> Iterator[Kafka]:
    """A broker of our own: these tests freeze it."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as folder:
        made = Kafka(Path(folder) / "kafka")
        made.start()
        made.wait_ready()
        yield made
        made.stop()


@pytest.fixture
async def topics(broker: Kafka) -> Topics:
    topics = Topics()
    await topics.create(broker.bootstrap, SHARDS)
    return topics


@pytest.fixture
def settings(broker: Kafka) -> Settings:
    return Settings(
        kafka_bootstrap=broker.bootstrap,
        shards=SHARDS,
        command_deadline_seconds=DEADLINE,
        commands_in_flight_max=3,
    )


@pytest.fixture
async def gateway(settings: Settings, topics: Topics) -> AsyncIterator[KafkaGateway]:
    made = KafkaGateway(settings, topics.commands, topics.replies)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def ledger(broker: Kafka, topics: Topics) -> AsyncIterator[TinyLedger]:
    async with tiny_ledger(broker.bootstrap, topics, SHARDS) as made:
        yield made


def command(gateway: KafkaGateway) -> Command:
    ticket = gateway.ticket()
    return Command(
        id=ticket.command_id,
        source="/api",
        type=CREDIT.TYPE,
        subject="cus_1",
        businessid="bus_1",
        mode="test",
        origin=Origin.API,
        actor="key_1",
        correlationid="req_1",
        deadline=ticket.deadline,
        replyto=ticket.replyto,
        data=encode_ask(CREDIT),
    )


async def until(condition: object, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 a broker tells nobody
            await asyncio.sleep(0.02)


async def test_a_command_gets_its_own_reply(gateway: KafkaGateway, ledger: TinyLedger) -> None:
    first, second = command(gateway), command(gateway)
    replies = await asyncio.gather(gateway.ask(first, 1), gateway.ask(second, 2))
    assert [reply.correlation for reply in replies] == [first.id, second.id]
    assert {one.id for one in ledger.received} == {first.id, second.id}
    assert gateway.problems() == {}


async def test_the_deadline_is_absolute_and_the_partition_explicit(
    broker: Kafka, gateway: KafkaGateway, ledger: TinyLedger, topics: Topics
) -> None:
    await gateway.ask(command(gateway), 3)
    deadline = micros(str(ledger.received[0].deadline)) / 1e6
    assert time() < deadline <= time() + DEADLINE
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topics.commands, 3)])
        record = await asyncio.wait_for(consumer.getone(), 5)
    assert record.key == b"cus_1"
    assert decode_command(record.value)[0].id == ledger.received[0].id


@pytest.mark.alone
async def test_without_an_answer_the_outcome_is_unknown_but_not_too_soon(
    gateway: KafkaGateway, ledger: TinyLedger
) -> None:
    ledger.answering = lambda *_: None
    started = monotonic()
    with pytest.raises(OutcomeUnknown):
        await gateway.ask(command(gateway), 0)
    assert DEADLINE + GRACE_SECONDS <= monotonic() - started < DEADLINE + GRACE_SECONDS + 1
    assert len(ledger.received) == 1
    assert set(gateway.problems()) == {"ledger"}
    ledger.answering = lambda one, _: Reply(correlation=one.id, outcome=Outcome.LATE)
    assert (await gateway.ask(command(gateway), 0)).outcome is Outcome.LATE
    assert gateway.problems() == {}


async def test_replies_for_others_and_nonsense_are_passed_over(
    gateway: KafkaGateway, ledger: TinyLedger
) -> None:
    replyto = gateway.ticket().replyto
    await ledger.say(Reply(correlation="ab" * 24, outcome=Outcome.APPLIED), replyto)
    await ledger._producer.send_and_wait(
        ledger._topics.replies, b"\xff nonsense", partition=int(replyto.partition("/")[0])
    )
    assert (await gateway.ask(command(gateway), 0)).outcome is Outcome.APPLIED


async def test_in_flight_is_bounded(gateway: KafkaGateway, ledger: TinyLedger) -> None:
    ledger.answering = lambda *_: None
    asked = [asyncio.create_task(gateway.ask(command(gateway), 0)) for _ in range(3)]
    await until(lambda: len(ledger.received) == 3)
    with pytest.raises(NotHandedOver):
        await gateway.ask(command(gateway), 0)
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [OutcomeUnknown] * 3
    assert len(ledger.received) == 3
    ledger.answering = lambda one, _: Reply(correlation=one.id, outcome=Outcome.APPLIED)
    assert (await gateway.ask(command(gateway), 0)).outcome is Outcome.APPLIED
    assert gateway._pending == {}


async def test_old_replies_are_not_read(
    settings: Settings, topics: Topics, gateway: KafkaGateway, ledger: TinyLedger
) -> None:
    """A process that starts begins at the end: it can have asked nothing before."""
    await gateway.ask(command(gateway), 0)
    another = KafkaGateway(settings, topics.commands, topics.replies)
    await another.start()
    try:
        assert another.ticket().command_id[:32] != gateway.ticket().command_id[:32]
        assert (await another.ask(command(another), 0)).outcome is Outcome.APPLIED
    finally:
        await another.stop()


@pytest.mark.alone
async def test_while_kafka_is_away_nothing_is_handed_over(
    broker: Kafka, gateway: KafkaGateway, ledger: TinyLedger
) -> None:
    await gateway.ask(command(gateway), 0)
    broker.freeze()
    try:
        with pytest.raises(OutcomeUnknown):  # the first one was handed over before anyone could know
            await gateway.ask(command(gateway), 0)
        await until(lambda: "kafka" in gateway.problems(), UNACKNOWLEDGED_SECONDS_MAX + 5)
        started = monotonic()
        for _ in range(10):
            with pytest.raises(NotHandedOver):
                await gateway.ask(command(gateway), 0)
        assert monotonic() - started < 0.5
    finally:
        broker.thaw()
    await until(lambda: "kafka" not in gateway.problems(), 20)
    assert (await gateway.ask(command(gateway), 0)).outcome is Outcome.APPLIED
    await until(lambda: len(ledger.received) >= 3)
    assert len({one.id for one in ledger.received}) == 3  # and none of the ten


async def test_after_a_record_was_given_up_the_next_ones_are_taken(
    settings: Settings, topics: Topics, ledger: TinyLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a broker ends in order and is away for longer than the client's patience."""
    monkeypatch.setattr(gateway_module, "_REQUEST_TIMEOUT_MS", 300)
    gateway = KafkaGateway(settings, topics.commands, topics.replies)
    await gateway.start()
    try:
        await gateway.ask(command(gateway), 0)
        with monkeypatch.context() as leaderless:
            leaderless.setattr(gateway._producer.client.cluster, "leader_for_partition", lambda _: -1)
            with pytest.raises(OutcomeUnknown):
                await gateway.ask(command(gateway), 0)
        async with asyncio.timeout(20):
            while True:
                try:
                    assert (await gateway.ask(command(gateway), 0)).outcome is Outcome.APPLIED
                    break
                except (OutcomeUnknown, NotHandedOver):
                    await asyncio.sleep(0.1)
    finally:
        await gateway.stop()


async def test_a_webhook_counts_as_published_only_when_kafka_says_so(
    broker: Kafka, settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = KafkaPublisher(settings, topics.commands)
    await publisher.start()
    await publisher.publish(b"key", b"value")
    monkeypatch.setattr(webhook_publisher, "PUBLISH_SECONDS_MAX", 0.5)
    broker.freeze()
    try:
        with pytest.raises(NotPublished):
            await publisher.publish(b"key", b"value")
    finally:
        broker.thaw()
    monkeypatch.setattr(webhook_publisher, "PUBLISH_SECONDS_MAX", 20)
    await publisher.publish(b"key", b"value")
    await publisher.stop()
