"""`dead-letters …` without a Kafka that behaves: what it holds in memory, and that it comes to an end."""

import asyncio
import json
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import encode_ask, encode_command
from events.commands import Command, CreditWallet, Origin
from events.dead_letters import SealedLetter
from events.topics import COMMANDS
from services import reading
from services.console import letters
from services.mistakes import ExitCode, Mistake
from services.reading import Silent

LETTERS = 32
MALFORMED = (3, 9)
"""All others are incomplete."""
COMMAND = Command(
    id="one",
    source="/tests",
    type=CreditWallet.TYPE,
    subject="cus_1",
    businessid="biz_tests",
    mode="test",
    origin=Origin.SYSTEM,
    actor="tests",
    correlationid="one",
    data=encode_ask(CreditWallet(currency="USD", amount=1)),
)
LETTER_BYTES = 1024 * 1024


class FakeConsumer:
    """A topic that makes its letters as they are read, up to `given`."""

    given = LETTERS
    topic = "payments.events"
    stopped = 0
    placed = True
    """Whether it knows where it stands."""

    def __init__(self, **_: object) -> None:
        self._at = 0

    async def start(self) -> None:
        """Nothing to reach."""

    def assign(self, places: list[TopicPartition]) -> None:
        [self._place] = places

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, LETTERS)

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    def seek(self, _: TopicPartition, at: int) -> None:
        self._at = at

    async def position(self, _: TopicPartition) -> int:
        if not self.placed:
            await asyncio.Future()
        return self._at

    def pause(self, *_: TopicPartition) -> None:
        """It was read to its end."""

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        if self._at == self.given:
            await asyncio.sleep(timeout_ms / 1000)
            return {}
        value = msgspec.json.encode(_letter(self.topic, self._at))
        self._at += 1
        return {self._place: [SimpleNamespace(offset=self._at - 1, value=value)]}

    async def stop(self) -> None:
        type(self).stopped += 1


def _letter(topic: str, number: int) -> SealedLetter:
    return SealedLetter(
        topic=topic,
        partition=0,
        offset=number,
        time="2026-07-01T10:00:00.000000Z",
        code="MALFORMED" if number in MALFORMED else "INCOMPLETE",
        message="m",
        month="2026-07",
        sealed="x" * LETTER_BYTES,
    )


class FakeProducer:
    """Keeps the offsets of what it was given, unless it does not start."""

    sent: list[bytes]
    reached = True
    taken = LETTERS
    stopped = 0

    def __init__(self, **_: object) -> None:
        """As aiokafka's, with options."""

    async def start(self) -> None:
        if not self.reached:
            raise KafkaConnectionError

    async def send_and_wait(self, _: str, value: bytes, partition: int) -> None:
        if len(self.sent) == self.taken:
            await asyncio.Future()
        self.sent.append(value)

    async def stop(self) -> None:
        type(self).stopped += 1


class FakeRing:
    """Has every key."""

    damaged: frozenset[object] = frozenset()

    def get(self, owners: list[object]) -> dict[object, bytes]:
        return dict.fromkeys(owners, b"key")

    def forget(self) -> None:
        """It holds none."""


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "KEYS_DSN": "postgresql://a@b/c",
        "KEY_ENCRYPTION_KEY": "A" * 43 + "=",
    }.items():
        monkeypatch.setenv(f"WALLET_LEDGER_{name}", value)
    monkeypatch.setattr(FakeProducer, "sent", [], raising=False)
    for fake in (FakeConsumer, FakeProducer):
        monkeypatch.setattr(fake, "stopped", 0)
    monkeypatch.setattr(reading, "AIOKafkaConsumer", FakeConsumer)
    monkeypatch.setattr(letters, "AIOKafkaProducer", FakeProducer)
    monkeypatch.setattr(letters, "key_ring", lambda _: FakeRing())
    monkeypatch.setattr(letters, "opened", lambda _, letter: str(letter.offset).encode())


def test_a_redrive_of_two_holds_two() -> None:
    tracemalloc.start()
    try:
        letters.redrive([LETTERS - 1, 7], None, as_json=True)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert FakeProducer.sent == [str(LETTERS - 1).encode(), b"7"], "in the order in which they were named"
    assert most < LETTERS / 2 * LETTER_BYTES


def test_a_redrive_gives_up_where_kafka_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeProducer, "taken", 3)
    monkeypatch.setattr(letters, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(Mistake, match=f"took 3 of {LETTERS} letters") as caught:
        letters.redrive([], None, as_json=True)
    assert (caught.value.exit_code, FakeProducer.stopped) == (ExitCode.UNREACHABLE, 1)


def test_a_redrive_without_numbers_sends_all() -> None:
    letters.redrive([], None, as_json=False)
    assert len(FakeProducer.sent) == LETTERS


def test_a_redrive_of_a_code_sends_those_of_the_code() -> None:
    letters.redrive([], "MALFORMED", as_json=False)
    assert FakeProducer.sent == [str(number).encode() for number in MALFORMED]


@pytest.mark.parametrize(("deadline", "put_back"), [("2026-07-01T10:00:00.000000Z", False), (UNSET, True)])
def test_a_command_past_its_deadline_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], deadline: Any, put_back: bool
) -> None:
    """No worker would apply it, and nobody would be told."""
    value = encode_command(replace(COMMAND, deadline=deadline))
    monkeypatch.setattr(letters, "opened", lambda *_: value)
    monkeypatch.setattr(FakeConsumer, "topic", COMMANDS.name)
    letters.redrive([7], None, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said == {"redriven": [7] if put_back else [], "late": [] if put_back else [7]}
    assert FakeProducer.sent == ([value] if put_back else [])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("given", "placed"), [(3, True), (LETTERS, False)])
def test_a_kafka_that_goes_away_ends_it(monkeypatch: pytest.MonkeyPatch, given: int, placed: bool) -> None:
    monkeypatch.setattr(reading, "SILENCE_SECONDS_MAX", 0.7)
    monkeypatch.setattr(FakeConsumer, "given", given)
    monkeypatch.setattr(FakeConsumer, "placed", placed)
    with pytest.raises(Silent, match="sent nothing for"):
        letters.show_all(None, 10, as_json=True)
    assert FakeConsumer.stopped == 1


def test_a_producer_that_does_not_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeProducer, "reached", False)
    with pytest.raises(KafkaConnectionError):
        letters.redrive([7], None, as_json=True)
    assert FakeProducer.stopped == 1


def test_without_kafka_one_line_is_all() -> None:
    argv = [sys.executable, "-m", "services.cli", "dead-letters", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.UNREACHABLE
    assert done.stderr.count("\n") == 1, done.stderr
