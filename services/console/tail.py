"""Read `ledger.events` as an auditor does: no database, repeats skipped, the chain checked on the way."""

import asyncio
import heapq
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from babel.numbers import format_currency, get_currency_precision

from events.codec import Malformed, decode_envelope, decode_fact, digest
from events.envelope import Envelope
from events.facts import AnyFact, Movement, WalletCredited, WalletDebitRefused
from events.sharding import shard_of
from events.topics import EVENTS
from services.console.mistakes import beside
from services.kafka import client_options, ended
from services.mistakes import ExitCode, Mistake
from services.settings import Settings
from services.topics import check_topics

POLL_MS = 500
PATIENCE_SECONDS = 30.0
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


class Silence(Mistake):
    """Kafka does not give what it says it has."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(self) -> None:
        super().__init__(f"Kafka sent nothing for {PATIENCE_SECONDS:.0f} s before the end of the log")


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
        """The events wanted. Raises BrokenChain and WrongTopic."""
        await check_topics(self.settings)
        consumer = AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="none", **client_options(self.settings)
        )
        try:
            await consumer.start()
            ends = await self._place(consumer)
            async for seen in self._select(consumer, ends):
                yield seen
        finally:
            await ended(consumer)

    def summary(self) -> str:
        """One line on what the chain says of the events that were read."""
        read = [chain for chain in self.chains.values() if chain.head]
        count = sum(chain.last - chain.first + 1 for chain in read)
        whole = all(chain.first == 1 for chain in read)
        since = "from the first event on" if whole else "from the first event read on"
        repeated = sum(chain.repeated for chain in read)
        shards = "1 shard" if len(read) == 1 else f"{len(read)} shards"
        return f"{count:,} events in {shards}, {since}: no gap, all hashes fit, {repeated} repeated"

    async def _place(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Go to where reading starts; returns where the log ends now."""
        shards = range(self.settings.shards) if self.wanted.shard is None else [self.wanted.shard]
        if self.wanted.customer is not None:
            shards = [shard_of(self.wanted.customer, self.settings.shards)]
        partitions = [TopicPartition(EVENTS.name, shard) for shard in shards]
        consumer.assign(partitions)
        self.chains = {shard: Chain(shard) for shard in shards}
        begins = await consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        back = None if not self.wanted.from_end or self.wanted.customer else self.wanted.limit or 0
        for partition in partitions:
            start = begins[partition] if back is None else max(begins[partition], ends[partition] - back)
            consumer.seek(partition, start)
        return ends

    async def _select(
        self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]
    ) -> AsyncIterator[Seen]:
        wanted = self.wanted
        if wanted.from_end:
            for seen in await self._last(consumer, ends):
                yield seen
            if not wanted.follow:
                return
        count = 0
        async for seen in self._read(consumer, None if wanted.follow else ends):
            yield seen
            count += 1
            if not wanted.from_end and count == wanted.limit:
                return

    async def _last(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> list[Seen]:
        """The last `limit` events before the ends, of all shards in order of time."""
        kept: list[tuple[tuple[str, int, int], Seen]] = []
        async for seen in self._read(consumer, ends):
            heapq.heappush(kept, (_order(seen), seen))
            if len(kept) > (self.wanted.limit or 0):
                heapq.heappop(kept)
        return [seen for _, seen in sorted(kept, key=itemgetter(0))]

    async def _read(
        self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int] | None
    ) -> AsyncIterator[Seen]:
        """What comes, until the ends if there are any."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while ends is None or not await _reached(consumer, ends):
            async for seen in self._batch(consumer):
                deadline = loop.time() + PATIENCE_SECONDS
                yield seen
            if ends is not None and loop.time() > deadline:
                raise Silence

    async def _batch(self, consumer: AIOKafkaConsumer) -> AsyncIterator[Seen]:
        batches: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=POLL_MS)
        for partition, records in batches.items():
            for record in records:
                seen = self.chains[partition.partition].take(record.value)
                if seen is not None and self.wanted.customer in (None, seen.envelope.subject):
                    yield seen


async def _reached(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])


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
