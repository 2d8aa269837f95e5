"""Commands of intake while the ledger is away: asked again, less and less often, and a reply to any copy counts."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from msgspec import UNSET

from events.codec import decode_command, encode_reply
from events.commands import Command
from events.replies import Outcome, Reply
from services.intake import asking
from services.intake.asking import DEAF_SECONDS, Asker, next_pause
from services.settings import Settings
from tests.fakes.asking import command, credit

NOW_MS = 1_790_000_000_000


class Kafka:
    """A producer that keeps what it was given; `lost`: it tells that it did not get there."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.lost = False
        self.more = asyncio.Event()

    async def send(self, value: bytes, *, key: bytes, partition: int) -> "asyncio.Future[Any]":
        self.sent.append(decode_command(value)[0])
        self.more.set()
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.lost:
            acknowledged.set_exception(ConnectionError())
            acknowledged.exception()
        else:
            acknowledged.set_result(None)
        return acknowledged


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    monkeypatch.setattr(asking, "RESEND_SECONDS", 0.01)
    return Kafka()


@pytest.fixture
def asker(kafka: Kafka) -> Asker:
    made = Asker(Settings(shards=4), lambda: NOW_MS * 1_000)
    made._producer, made._partition = kafka, 3  # type: ignore[assignment]
    return made


def asked(number: int) -> Command:
    return decode_command(command(number, "cus_1", credit(1), key=f"k{number}"))[0]


def reply(to: Command, outcome: Outcome = Outcome.APPLIED) -> bytes:
    assert to.replyto is not UNSET
    return encode_reply(Reply(correlation=to.replyto.partition("/")[2], outcome=outcome, code="X"))


async def times(kafka: Kafka, count: int) -> None:
    async with asyncio.timeout(5):
        while len(kafka.sent) < count:
            kafka.more.clear()
            await kafka.more.wait()


async def test_a_reply_to_the_first_copy_counts_when_more_were_sent(asker: Asker, kafka: Kafka) -> None:
    work = asyncio.create_task(asker.ask([asked(1)]))
    await times(kafka, 3)
    asker._settle(reply(kafka.sent[0]))
    assert [one.outcome for one in await work] == [Outcome.APPLIED]
    assert len({one.replyto for one in kafka.sent}) == 1
    assert asker._pending == {}


async def test_only_what_has_no_outcome_is_asked_again(asker: Asker, kafka: Kafka) -> None:
    work = asyncio.create_task(asker.ask([asked(1), asked(2), asked(1)]))
    await times(kafka, 2)
    assert [one.id for one in kafka.sent] == ["cmd_1", "cmd_2"]
    asker._settle(reply(kafka.sent[0]))
    asker._settle(reply(kafka.sent[1], Outcome.UNAVAILABLE))
    await times(kafka, 4)
    assert {one.id for one in kafka.sent[2:]} == {"cmd_2"}
    asker._settle(reply(kafka.sent[-1], Outcome.REFUSED))
    outcomes = [one.outcome for one in await work]
    assert outcomes == [Outcome.APPLIED, Outcome.REFUSED, Outcome.APPLIED]


async def test_it_knows_since_when_the_oldest_waits(asker: Asker, kafka: Kafka) -> None:
    assert asker.waits_since() is None
    first = asyncio.create_task(asker.ask([asked(1)]))
    await times(kafka, 1)
    between = time.monotonic()
    second = asyncio.create_task(asker.ask([asked(2)]))
    await times(kafka, 4)
    oldest = asker.waits_since()
    assert oldest is not None
    assert oldest < between
    asker._settle(reply(kafka.sent[0]))
    await first
    newest = asker.waits_since()
    assert newest is not None
    assert newest > between
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert asker.waits_since() is None


@pytest.mark.parametrize(("ago", "hears"), [(None, False), (1.0, True), (DEAF_SECONDS + 1, False)])
def test_it_hears_while_its_partition_answers(asker: Asker, ago: float | None, hears: bool) -> None:
    answered = None if ago is None else NOW_MS - int(1_000 * ago)
    asker._consumer = SimpleNamespace(last_poll_timestamp=lambda partition: answered)
    assert asker.hears() is hears


async def test_who_gives_up_leaves_nothing(asker: Asker, kafka: Kafka) -> None:
    work = asyncio.create_task(asker.ask([asked(1)]))
    await times(kafka, 1)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert asker._pending == {}
    assert await asker.ask([]) == []


def test_the_ledger_is_asked_less_and_less_often() -> None:
    pauses = [asking.RESEND_SECONDS]
    while pauses[-1] < asking.RESEND_SECONDS_MAX:
        pauses.append(next_pause(pauses[-1], soon=False))
    assert pauses == [5, 10, 20, 40, 60]
    assert next_pause(60, soon=True) == 5


@pytest.mark.parametrize("lost", [True, False])
async def test_what_kafka_lost_or_the_ledger_put_off_is_asked_again_soon(
    asker: Asker, kafka: Kafka, lost: bool
) -> None:
    kafka.lost = lost
    work = asyncio.create_task(asker.ask([asked(1)]))
    for number in range(1, 13):  # with longer and longer pauses these would take 20 s
        await times(kafka, number)
        if not lost:
            asker._settle(reply(kafka.sent[-1], Outcome.UNAVAILABLE))
    asker._settle(reply(kafka.sent[-1]))
    assert len(await work) == 1


async def test_what_its_partition_does_not_even_queue_is_asked_again(asker: Asker, kafka: Kafka) -> None:
    """As when it has had no leader for longer than what is queued may wait: that ended the process."""
    send = kafka.send

    async def full(value: bytes, **more: Any) -> "asyncio.Future[Any]":
        kafka.send = send  # type: ignore[method-assign]
        raise KafkaTimeoutError

    kafka.send = full  # type: ignore[method-assign]
    work = asyncio.create_task(asker.ask([asked(1)]))
    await times(kafka, 1)
    asker._settle(reply(kafka.sent[-1]))
    assert len(await work) == 1
