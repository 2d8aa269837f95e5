"""`wallet-ledger dead-letters …`: what was put aside, why, and in again."""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

import msgspec
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from events.codec import Malformed, decode_command
from events.dead_letters import SealedLetter
from events.sealing import Unsealable
from events.topics import COMMANDS, DEAD_LETTERS
from services.coffin import month_owner, opened
from services.console.mistakes import beside
from services.console.tables import show_table
from services.kafka import client_options, ended
from services.keyring import KeyRing, key_ring
from services.ledger.batches.admission import is_late
from services.mistakes import ExitCode, Mistake
from services.reading import BulkReader
from services.settings import Settings

PARTITION = 0
PATIENCE_SECONDS = 30.0
COLUMNS = ("letter", "put aside", "code", "topic", "partition", "offset", "why")

Letters = dict[int, SealedLetter]


def show_all(code: str | None, limit: int, *, as_json: bool) -> None:
    """The newest ones."""
    settings = beside("kafka_bootstrap")
    shown = asyncio.run(_newest(settings, code, limit))
    if as_json:
        print(json.dumps([_fields(number, one) for number, one in shown]))
        return
    show_table(
        COLUMNS,
        (
            (str(number), one.time, one.code, one.topic, str(one.partition), str(one.offset), one.message)
            for number, one in shown
        ),
    )


def show(number: int) -> None:
    """The record as it was found: it may name people."""
    settings = _settings()
    letter = asyncio.run(_one(settings, number))
    with _ring(settings) as ring:
        print(_open(ring, letter).decode(errors="backslashreplace"))


def redrive(numbers: list[int], code: str | None, *, as_json: bool) -> None:
    """Back to where they came from, but commands past their deadline. Harmless where the fact is known by then."""
    settings = _settings()
    found = asyncio.run(_gathered(settings, set(numbers), code))
    if numbers:
        if missing := set(numbers) - found.keys():
            raise Mistake(f"there is no dead letter {min(missing)} (any more)", ExitCode.REFUSED)
        found = {number: found[number] for number in numbers}
    with _ring(settings) as ring:
        records = {number: (letter, _open(ring, letter)) for number, letter in found.items()}
    late = {number for number, record in records.items() if _late(*record)}
    sent = [number for number in records if number not in late]
    asyncio.run(_send(settings, [records[number] for number in sent]))
    if as_json:
        print(json.dumps({"redriven": sorted(sent), "late": sorted(late)}))
        return
    print(f"{len(sent)} sent in again")
    if late:
        print(
            f"{len(late)} left: past their deadline, no worker applies them; their callers ask again with the key"
        )


def _late(letter: SealedLetter, value: bytes) -> bool:
    if letter.topic != COMMANDS.name:
        return False
    try:
        return is_late(*decode_command(value), time.time_ns() // 1_000)
    except Malformed:
        return False


def _settings() -> Settings:
    return beside("kafka_bootstrap", "keys_dsn", "key_encryption_key")


@contextmanager
def _ring(settings: Settings) -> Iterator[KeyRing]:
    ring = key_ring(settings)
    try:
        yield ring
    finally:
        ring.forget()


def _open(ring: KeyRing, letter: SealedLetter) -> bytes:
    owner = month_owner(letter.month)
    key = ring.get([owner]).get(owner)
    if owner in ring.damaged:
        raise Mistake(f"the key of {letter.month} does not unwrap", ExitCode.MISFIT)
    if key is None:
        raise Mistake(f"the key of {letter.month} is gone, and its letters with it", ExitCode.REFUSED)
    try:
        return opened(key, letter)
    except Unsealable as error:
        raise Mistake(f"the letter does not open: {error}", ExitCode.MISFIT) from error


async def _one(settings: Settings, number: int) -> SealedLetter:
    async for at, letter in _letters(settings):
        if at == number:
            return letter
    raise Mistake(f"there is no dead letter {number} (any more)", ExitCode.REFUSED)


async def _newest(settings: Settings, code: str | None, most: int) -> Iterable[tuple[int, SealedLetter]]:
    """Without their records, which may be large: what is shown is about them."""
    found: deque[tuple[int, SealedLetter]] = deque(maxlen=most)
    async for at, letter in _letters(settings):
        if code in (None, letter.code):
            found.append((at, replace(letter, sealed="")))
    return found


async def _gathered(settings: Settings, numbers: set[int], code: str | None) -> Letters:
    """Those of the code; where there are numbers, only these."""
    return {
        at: letter
        async for at, letter in _letters(settings)
        if code in (None, letter.code) and (not numbers or at in numbers)
    }


async def _letters(settings: Settings) -> AsyncIterator[tuple[int, SealedLetter]]:
    """All that the topic still has, by their offsets. Raises Silent."""
    async with BulkReader(settings, DEAD_LETTERS) as reader:
        starts, ends = await reader.begins([PARTITION]), await reader.ends([PARTITION])
        async for records in reader.read(starts, ends):
            for record in records:
                if (letter := _read(record.offset, record.value)) is not None:
                    yield record.offset, letter


def _read(number: int, value: bytes) -> SealedLetter | None:
    """None: no letter of ours. It is told, so that nobody takes it for one that was lost."""
    try:
        return msgspec.json.decode(value, type=SealedLetter)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        print(f"record {number} of {DEAD_LETTERS.name} is no dead letter: it is left out", file=sys.stderr)
        return None


async def _send(settings: Settings, records: list[tuple[SealedLetter, bytes]]) -> None:
    producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **client_options(settings))
    try:
        await producer.start()
        for sent, (letter, value) in enumerate(records):
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await producer.send_and_wait(letter.topic, value, partition=letter.partition)
            except TimeoutError as error:
                raise Mistake(_not_taken(sent, len(records)), ExitCode.UNREACHABLE) from error
    finally:
        await ended(producer)


def _not_taken(sent: int, count: int) -> str:
    return (
        f"Kafka took {sent} of {count} letters and then nothing for {PATIENCE_SECONDS:.0f} s: redrive them again, "
        "what was put back twice changes nothing"
    )


def _fields(number: int, letter: SealedLetter) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(letter)
    del fields["sealed"]
    return {"letter": number, **fields}
