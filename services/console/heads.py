"""`wallet-ledger heads …`: sign where the log ends, and check a log against what was signed before."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from events.codec import Malformed, decode_envelope, digest, timestamp
from events.heads import Head, Heads, NotSigned, opened, signed
from services.console.mistakes import beside
from services.console.progress import bars
from services.console.tail import BrokenChain, Tail, Wanted
from services.mistakes import ExitCode, Mistake
from services.reading import BulkReader, Incomplete
from services.settings import Settings
from services.topics import check_topics

SHOWN_MAX = 20
LOOK_EVENTS = 1_000


class Said(NamedTuple):
    """A head and who said so: the place of its line."""

    head: Head
    place: str


def sign(key: Path) -> None:
    """Print one line: the last event of each shard, signed."""
    private = _private(key)
    settings = beside("kafka_bootstrap")
    try:
        heads = asyncio.run(_heads(settings))
    except Incomplete as error:
        raise Mistake(str(error), ExitCode.UNREACHABLE) from error
    now = timestamp(int(datetime.now(UTC).timestamp() * 1e6))
    print(signed(Heads(time=now, heads=heads), private).decode())


def check(key: Path, files: Iterable[Path], *, as_json: bool) -> None:
    """
    Raises:
        Mistake: the log is not the one whose heads were signed, or a line was not signed by this key.
    """
    said = list(_said(_public(key), files))
    settings = beside("kafka_bootstrap")
    events, wrong = asyncio.run(_compared(settings, said, quiet=as_json))
    places = {one.place for one in said}
    if as_json:
        print(json.dumps({"lines": len(places), "heads": len(said), "events": events, "wrong": wrong}))
    else:
        print(*wrong[:SHOWN_MAX], sep="\n", end="\n" if wrong else "")
        verdict = f"{len(wrong)} are not" if wrong else "all are"
        print(f"{len(said)} heads of {len(places)} lines: {verdict} in this log of {events:,} events")
    if wrong:
        raise Mistake("this is not the log whose heads were signed", ExitCode.MISFIT)


async def _heads(settings: Settings) -> list[Head]:
    """Each shard's last record: where that is a repeat of an older event, it is that event's."""
    await check_topics(settings)
    found = []
    async with BulkReader(settings) as reader:
        ends = await reader.ends(range(settings.shards))
        starts = {shard: end - 1 for shard, end in ends.items() if end > 0}
        async for records in reader.read(starts, {shard: ends[shard] for shard in starts}):
            for record in records:
                try:
                    sequence = int(decode_envelope(record.value).sequence)
                except Malformed as error:
                    what = f"shard {record.shard} ends with a record that is no event"
                    raise Mistake(what, ExitCode.MISFIT) from error
                found.append(Head(record.shard, sequence, digest(record.value).hex()))
    return sorted(found, key=lambda head: head.shard)


async def _compared(settings: Settings, said: list[Said], *, quiet: bool) -> tuple[int, list[str]]:
    """How many events there are, and what does not fit. The chain is checked on the way."""
    wanted: dict[tuple[int, int], list[Said]] = {}
    for one in said:
        wanted.setdefault((one.head.shard, one.head.sequence), []).append(one)
    events, wrong = 0, []
    with bars(quiet) as shown:
        try:
            async for seen in Tail(settings, Wanted(from_end=False)).events():
                events += 1
                if events % LOOK_EVENTS == 0:
                    shown.show("events", events, None)
                place = (seen.envelope.shard, int(seen.envelope.sequence))
                for one in wanted.pop(place, []):
                    if one.head.hash != digest(seen.value).hex():
                        wrong.append(f"{one.place}: {_at(one)} is another event in this log")
        except BrokenChain as error:
            wrong.append(f"ledger.events: {error}")
    return events, wrong + [
        f"{one.place}: {_at(one)} is not in this log" for left in wanted.values() for one in left
    ]


def _at(said: Said) -> str:
    return f"shard {said.head.shard} at {said.head.sequence}"


def _said(key: Ed25519PublicKey, files: Iterable[Path]) -> Iterator[Said]:
    for file in files:
        for number, line in enumerate(_read(file).splitlines(), start=1):
            place = f"{file.name}:{number}"
            try:
                yield from (Said(head, place) for head in opened(line, key).heads)
            except NotSigned as error:
                raise Mistake(f"{place}: {error}", ExitCode.MISFIT) from error


def _private(path: Path) -> Ed25519PrivateKey:
    key = _loaded(path, lambda pem: serialization.load_pem_private_key(pem, password=None))
    if not isinstance(key, Ed25519PrivateKey):
        raise Mistake(
            f"{path} is no private key of Ed25519: openssl genpkey -algorithm ed25519 -out {path.name}"
        )
    return key


def _public(path: Path) -> Ed25519PublicKey:
    key = _loaded(path, serialization.load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise Mistake(
            f"{path} is no public key of Ed25519: openssl pkey -in heads.pem -pubout -out {path.name}"
        )
    return key


def _loaded(path: Path, load: Callable[[bytes], object]) -> object:
    """None where it is no such key."""
    try:
        return load(_read(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from error
