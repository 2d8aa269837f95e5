"""Read `ledger.events` as an auditor does: no database, repeats skipped, the chain checked on the way."""

import asyncio
import heapq
import sys
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from babel.numbers import format_currency, get_currency_precision

from events.codec import Malformed, decode_envelope, decode_fact, digest
from events.envelope import Envelope
from events.facts import AnyFact, Movement, WalletCredited, WalletDebitRefused
from events.sharding import shard_of
from services.console.mistakes import beside
from services.mistakes import ExitCode, Mistake
from services.reading import BulkReader, Record
from services.settings import Settings
from services.topics import check_topics

LAST_SHOWN = 20


class Wanted(NamedTuple):
    """Which events: `limit` says how many of the last ones (from the end), or at most (from the beginning)."""

    shard: int | None = None
    customer: str | None = None
    from_end: bool = True
    follow: bool = False
    limit: int | None = None


class Seen(NamedTuple):
    """One event as read."""

    value: bytes
    envelope: Envelope
    fact: AnyFact


class BrokenChain(Exception):
    """Events are missing, changed, or not events at all."""


@dataclass
class Chain:
    """What was read of one shard; `head` is known once an event of it was seen."""

    shard: int
    first: int = 0
    last: int = 0
    repeated: int = 0
    head: bytes = b""

    def take(self, value: bytes) -> Seen | None:
        """The event; None for one that was seen already. Raises BrokenChain."""
        try:
            envelope = decode_envelope(value)
            fact = decode_fact(envelope)
        except Malformed as error:
            raise BrokenChain(f"shard {self.shard}, after sequence {self.last}: {error}") from error
        sequence = int(envelope.sequence)
        if self.head and sequence <= self.last:
            self.repeated += 1
            return None
        self._check(envelope, sequence)
        self.first = self.first or sequence
        self.last, self.head = sequence, digest(value)
        return Seen(value, envelope, fact)

    def _check(self, envelope: Envelope, sequence: int) -> None:
        if envelope.shard != self.shard:
            raise BrokenChain(f"shard {self.shard} holds an event of shard {envelope.shard}")
        if self.head and sequence != self.last + 1:
            raise BrokenChain(f"shard {self.shard}: {self.last} is followed by {sequence}")
        if self.head and envelope.previoushash != self.head.hex():
            raise BrokenChain(f"the chain breaks at {envelope.id}: it names another predecessor")


@dataclass
class Tail:
    """One reading of the topic; afterwards `summary` says what was checked."""

    settings: Settings
    wanted: Wanted
    chains: dict[int, Chain] = field(default_factory=dict)

    async def events(self) -> AsyncIterator[Seen]:
        """The events wanted. Raises BrokenChain, Incomplete, Silent and WrongTopic."""
        await check_topics(self.settings)
        async with BulkReader(self.settings) as reader:
            async for seen in self._select(reader):
                yield seen

    def summary(self) -> str:
        """One line on what the chain says of the events that were read."""
        read = [chain for chain in self.chains.values() if chain.head]
        count = sum(chain.last - chain.first + 1 for chain in read)
        whole = all(chain.first == 1 for chain in read)
        since = "from the first event on" if whole else "from the first event read on"
        repeated = sum(chain.repeated for chain in read)
        shards = "1 shard" if len(read) == 1 else f"{len(read)} shards"
        return f"{count:,} events in {shards}, {since}: no gap, all hashes fit, {repeated} repeated"

    async def _select(self, reader: BulkReader) -> AsyncIterator[Seen]:
        wanted, shards = self.wanted, self._shards()
        self.chains = {shard: Chain(shard) for shard in shards}
        starts, ends = await reader.begins(shards), await reader.ends(shards)
        if wanted.from_end:
            if wanted.customer is None:  # else any of the shard's events may be one of the last ones
                starts = {shard: max(starts[shard], end - (wanted.limit or 0)) for shard, end in ends.items()}
            for seen in await self._last(reader.read(starts, ends)):
                yield seen
            if not wanted.follow:
                return
            starts = ends
        batches = reader.follow(starts) if wanted.follow else reader.read(starts, ends)
        count = 0
        async for seen in self._taken(batches):
            yield seen
            count += 1
            if not wanted.from_end and count == wanted.limit:
                return

    def _shards(self) -> Collection[int]:
        if self.wanted.customer is not None:
            return [shard_of(self.wanted.customer, self.settings.shards)]
        return range(self.settings.shards) if self.wanted.shard is None else [self.wanted.shard]

    async def _last(self, batches: AsyncIterator[list[Record]]) -> list[Seen]:
        """The last `limit` of these events, of all shards in order of time."""
        kept: list[tuple[tuple[str, int, int], Seen]] = []
        async for seen in self._taken(batches):
            heapq.heappush(kept, (_order(seen), seen))
            if len(kept) > (self.wanted.limit or 0):
                heapq.heappop(kept)
        return [seen for _, seen in sorted(kept, key=itemgetter(0))]

    async def _taken(self, batches: AsyncIterator[list[Record]]) -> AsyncIterator[Seen]:
        async for records in batches:
            for record in records:
                seen = self.chains[record.shard].take(record.value)
                if seen is not None and self.wanted.customer in (None, seen.envelope.subject):
                    yield seen


def _order(seen: Seen) -> tuple[str, int, int]:
    return seen.envelope.time, seen.envelope.shard, int(seen.envelope.sequence)


def show(wanted: Wanted, *, as_json: bool) -> None:
    """Print the events, and at last what the chain says.

    Raises:
        Mistake: the chain is broken.
    """
    settings = beside("kafka_bootstrap")
    if wanted.shard is not None and wanted.shard >= settings.shards:
        raise Mistake(f"there are {settings.shards} shards, 0 to {settings.shards - 1}", ExitCode.REFUSED)
    if wanted.from_end and wanted.limit is None:
        wanted = wanted._replace(limit=LAST_SHOWN)
    tail = Tail(settings, wanted)

    async def run() -> None:
        async for seen in tail.events():
            print(seen.value.decode() if as_json else line(seen), flush=wanted.follow)

    try:
        asyncio.run(run())
    except BrokenChain as error:
        raise Mistake(f"ledger.events: {error}", ExitCode.MISFIT) from error
    if not wanted.from_end:
        print(tail.summary(), file=sys.stderr)


def line(seen: Seen) -> str:
    """For people: when, where, what, whose, how much, and the balance it left."""
    envelope, fact = seen.envelope, seen.fact
    moment = envelope.time.replace("T", " ")[:23]
    kind = envelope.type.rpartition(".v")[0]
    return f"{moment}  {envelope.id:>9}  {kind:<24} {envelope.subject}  {_money(fact)}".rstrip()


def _money(fact: AnyFact) -> str:
    if isinstance(fact, Movement):
        sign = "+" if isinstance(fact, WalletCredited) else "-"
        after = amount(fact.balance_after, fact.currency)
        return f"{sign}{amount(fact.amount, fact.currency)}  balance {after}  {fact.cause}"
    if isinstance(fact, WalletDebitRefused):
        left = amount(fact.balance, fact.currency)
        return f"{amount(fact.amount, fact.currency)} refused ({fact.refusal})  balance {left}"
    return ""


def amount(minor: int, currency: str) -> str:
    """Minor units as people write them: `$1,234.50`, `¥500`."""
    units = Decimal(minor).scaleb(-get_currency_precision(currency))
    return format_currency(units, currency, locale="en")
