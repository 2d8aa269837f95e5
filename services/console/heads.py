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
from services.console.tail import BrokenChain, Chain, Tail, Wanted
from services.mistakes import ExitCode, Mistake
from services.reading import BulkReader, Record
from services.settings import Settings
from services.topics import check_topics

SHOWN_MAX = 20
LOOK_EVENTS = 1_000
LAST_RECORDS = 1_000
"""More than a relay ever repeats."""


class Said(NamedTuple):
    """A head and who said so: the place of its line."""

    head: Head
    place: str


def sign(key: Path) -> None:
    """Print one line: the last event of each shard, signed."""
    private = _private(key)
    settings = beside("kafka_bootstrap")
    heads = asyncio.run(_heads(settings))
    now = timestamp(int(datetime.now(UTC).timestamp() * 1e6))
    print(signed(Heads(time=now, heads=heads), private).decode())


def check(key: Path, files: Iterable[Path], *, as_json: bool) -> None:
    """
    Raises:
        Mistake: the log is not the one whose heads were signed, or a line was not signed by this key.
    """
    lines, said = _said(_public(key), files)
    if not lines:
        raise Mistake("there is no line of signed heads: nothing is checked", ExitCode.MISFIT)
    settings = beside("kafka_bootstrap")
    events, wrong = asyncio.run(_compared(settings, said, quiet=as_json))
    if as_json:
        print(json.dumps({"lines": lines, "heads": len(said), "events": events, "wrong": wrong}))
    else:
        print(*wrong[:SHOWN_MAX], sep="\n", end="\n" if wrong else "")
        verdict = f"{len(wrong)} are not" if wrong else "all are"
        print(f"{len(said)} heads of {lines} lines: {verdict} in this log of {events:,} events")
    if wrong:
        raise Mistake("this is not the log whose heads were signed", ExitCode.MISFIT)


async def _heads(settings: Settings) -> list[Head]:
    """Each shard's highest event among its last records: after it, older ones may be there once more."""
    await check_topics(settings)
    highest: dict[int, Head] = {}
    async with BulkReader(settings) as reader:
        ends = await reader.ends(range(settings.shards))
        starts = {shard: max(0, end - LAST_RECORDS) for shard, end in ends.items()}
        async for records in reader.read(starts, ends):
            for record in records:
                head = _head(record)
                if record.shard not in highest or head.sequence > highest[record.shard].sequence:
                    highest[record.shard] = head
    return [head for _, head in sorted(highest.items())]


def _head(record: Record) -> Head:
    try:
        envelope = decode_envelope(record.value)
    except Malformed as error:
        what = f"shard {record.shard}: the record at offset {record.offset} is no event"
        raise Mistake(what, ExitCode.MISFIT) from error
    if envelope.shard != record.shard:
        raise Mistake(f"shard {record.shard} holds an event of shard {envelope.shard}", ExitCode.MISFIT)
    return Head(record.shard, int(envelope.sequence), digest(record.value).hex())


async def _compared(settings: Settings, said: list[Said], *, quiet: bool) -> tuple[int, list[str]]:
    """How many events there are, and what does not fit. The chain is checked on the way."""
    wanted: dict[tuple[int, int], list[Said]] = {}
    for one in said:
        wanted.setdefault((one.head.shard, one.head.sequence), []).append(one)
    events, wrong = 0, list(_backwards(said))
    tail = Tail(settings, Wanted(from_end=False))
    with bars(quiet) as shown:
        try:
            async for seen in tail.events():
                events += 1
                if events % LOOK_EVENTS == 0:
                    shown.show("events", events, None)
                place = (seen.envelope.shard, int(seen.envelope.sequence))
                for one in wanted.pop(place, []):
                    if one.head.hash != digest(seen.value).hex():
                        wrong.append(f"{one.place}: {_at(one)} is another event in this log")
        except BrokenChain as error:
            return events, [*wrong, f"ledger.events: {error}; what comes after it was not looked at"]
    wrong += cut_off(tail.chains.values())
    absent = [one for left in wanted.values() for one in left]
    return events, wrong + [f"{one.place}: {_at(one)} is not in this log" for one in absent]


def cut_off(chains: Iterable[Chain]) -> Iterator[str]:
    """Shards of which not even the first event is there any more."""
    for chain in chains:
        if chain.head and chain.first != 1:
            yield f"shard {chain.shard} begins at {chain.first}: what was before is cut off"


def _backwards(said: list[Said]) -> Iterator[str]:
    """A log only grows: a later line with a lower sequence was signed over records that were put behind its end."""
    highest: dict[int, int] = {}
    for one in said:
        if one.head.sequence < highest.get(one.head.shard, 0):
            yield f"{one.place}: {_at(one)} is before what an earlier line says"
        highest[one.head.shard] = max(one.head.sequence, highest.get(one.head.shard, 0))


def _at(said: Said) -> str:
    return f"shard {said.head.shard} at {said.head.sequence}"


def _said(key: Ed25519PublicKey, files: Iterable[Path]) -> tuple[int, list[Said]]:
    """How many lines there are, and their heads, in their order."""
    lines, said = 0, []
    for file in files:
        for number, line in enumerate(_read(file).splitlines(), start=1):
            place = f"{file.name}:{number}"
            try:
                said += [Said(head, place) for head in opened(line, key).heads]
            except NotSigned as error:
                raise Mistake(f"{place}: {error}", ExitCode.MISFIT) from error
            lines += 1
    return lines, said


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
    except TypeError as error:
        raise Mistake(
            f"{path} has a passphrase: a key without one is needed, for it signs unattended"
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}") from error
