"""Was it right? Every acknowledgement is looked up in the topic, every balance is added up again."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from benchmarks.backlog import APPLIED, STORED, count
from benchmarks.load import is_overdraft, key_of
from benchmarks.stage import Stage
from events.codec import digest
from events.envelope import Envelope
from events.topics import EVENTS
from services.kafka import client_options
from services.settings import Settings
from services.standalone.process import StandaloneError

STALLED_MS = 30_000
_MOVES = {"wallet.credited.v1": 1, "wallet.debited.v1": -1}


class _Movement(Struct):
    amount: int
    currency: str
    balance_before: int
    balance_after: int


class Topic:
    """`ledger.events` from its first record to its last, as an auditor reads it: repeats left out, chain followed."""

    def __init__(self, shards: int) -> None:
        self._heads: dict[int, tuple[int, str]] = {}
        self._envelopes = msgspec.json.Decoder(Envelope)
        self._movements = msgspec.json.Decoder(_Movement)
        self.shards = shards
        self.events = 0
        self.repeats = 0
        self.gaps = 0
        self.broken_links = 0
        self.wrong_sums = 0
        self.negative = 0
        self.by_key: dict[str, list[str]] = {}
        self.balances: dict[tuple[str, str], int] = {}

    def take(self, value: bytes) -> None:
        event = self._envelopes.decode(value)
        sequence = int(event.sequence)
        last, head = self._heads.get(event.shard, (0, ""))
        if sequence <= last:
            self.repeats += 1
            return
        self.gaps += sequence != last + 1
        self.broken_links += bool(head) and event.previoushash != head
        self._heads[event.shard] = (sequence, digest(value).hex())
        self.events += 1
        self.by_key.setdefault(event.keyhash, []).append(event.id)
        if event.type in _MOVES:
            self._move(event)

    def _move(self, event: Envelope) -> None:
        move = self._movements.decode(event.data)
        wallet = (event.subject, move.currency)
        before = self.balances.get(wallet, 0)
        after = before + _MOVES[event.type] * move.amount
        self.wrong_sums += (before, after) != (move.balance_before, move.balance_after)
        self.negative += after < 0
        self.balances[wallet] = after


def read_topic(settings: Settings) -> Topic:
    """All of it, up to its end as it is now."""
    return asyncio.run(_read(settings))


async def _read(settings: Settings) -> Topic:
    topic = Topic(settings.shards)
    consumer = AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # seeking there instead races with the reset to the end that assign began
        max_partition_fetch_bytes=8 << 20,
        **client_options(settings),
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(EVENTS.name, number) for number in range(settings.shards)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        left = {partition for partition in partitions if ends[partition]}
        while left:
            batches = await consumer.getmany(timeout_ms=STALLED_MS)
            if not batches:
                raise StandaloneError(f"{EVENTS.name} cannot be read to its end: {sorted(left)}")
            for partition, records in batches.items():
                for record in records:
                    topic.take(record.value)
                if records[-1].offset >= ends[partition] - 1:
                    left.discard(partition)
    finally:
        await consumer.stop()
    return topic


def acknowledged(topic: Topic, runs: Iterable[tuple[str, list[tuple[int, str]]]]) -> dict[str, int]:
    """For each 200: its key must be in the topic once, at the position that the answer named."""
    found = {"answers_200": 0, "once": 0, "missing": 0, "doubled": 0, "other_position": 0}
    found["overdrafts_accepted"] = 0
    for run, numbers in runs:
        for number, position in numbers:
            places = topic.by_key.get(hashed(key_of(run, number)), [])
            found["answers_200"] += 1
            found["overdrafts_accepted"] += is_overdraft(number)
            if len(places) == 1:
                found["once" if places[0] == position else "other_position"] += 1
            else:
                found["doubled" if places else "missing"] += 1
    return found


def hashed(key: str) -> str:
    """As events carry it."""
    return hashlib.sha256(key.encode()).hexdigest()


def ledger(stage: Stage, topic: Topic) -> dict[str, Any]:
    """Topic, store and read models must say the same."""
    with psycopg.connect(stage.dsn("views")) as connection:
        rows = connection.execute("SELECT customer_id, currency, balance_minor FROM wallets").fetchall()
    shown = {(customer, currency): balance for customer, currency, balance in rows}
    return {
        "events_in_topic": topic.events,
        "events_in_store": count(stage, STORED),
        "events_in_read_models": count(stage, APPLIED),
        "repeats": topic.repeats,
        "gaps": topic.gaps,
        "broken_links": topic.broken_links,
        "entries_that_do_not_add_up": topic.wrong_sums,
        "negative_balances": topic.negative + sum(balance < 0 for balance in shown.values()),
        "wallets_that_differ": sum(shown.get(wallet) != money for wallet, money in topic.balances.items()),
    }


def baseline(dsn: str, runs: Sequence[tuple[str, list[tuple[int, str]]]]) -> dict[str, int]:
    """The same question to the baseline's own table."""
    with psycopg.connect(dsn) as connection:
        entries = connection.execute("SELECT idempotency_key FROM entries").fetchall()
        poor = connection.execute("SELECT count(*) FROM wallets WHERE balance_minor < 0").fetchone()
    keys = {key for (key,) in entries}
    sent = [key_of(run, number) for run, numbers in runs for number, _ in numbers]
    assert poor is not None
    return {
        "answers_200": len(sent),
        "once": sum(key in keys for key in sent),
        "missing": sum(key not in keys for key in sent),
        "overdrafts_accepted": sum(is_overdraft(number) for _, numbers in runs for number, _ in numbers),
        "negative_balances": poor[0],
    }


def verdict(found: dict[str, Any]) -> None:
    """Figures of a ledger that is wrong are worth nothing.

    Raises:
        StandaloneError: something was lost, doubled or does not add up.
    """
    harmless = {"answers_200", "once", "repeats"}
    counts = {name: number for name, number in found.items() if not name.startswith("events_in")}
    wrong = {name: number for name, number in counts.items() if number and name not in harmless}
    stored = {number for name, number in found.items() if name.startswith("events_in")}
    if wrong or len(stored) > 1:
        raise StandaloneError(f"the ledger is not right: {wrong or found}")
