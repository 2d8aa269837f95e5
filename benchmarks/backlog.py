"""Commands put on the topic directly, and how fast a backlog of them is worked off."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import psycopg
from aiokafka import AIOKafkaProducer
from msgspec import UNSET

from benchmarks.stage import TENANT, Stage
from events.codec import encode_ask, encode_command
from events.commands import Command, CreditWallet, CustomerAsk, DebitWallet, Origin, RegisterCustomer
from events.sharding import shard_of
from events.topics import COMMANDS
from services.kafka import client_options
from services.settings import Settings
from services.standalone.process import StandaloneError

STORED = ("store", "SELECT sum(sequence)::bigint FROM shards")
APPLIED = ("views", "SELECT sum(sequence)::bigint FROM checkpoints")
STALLED_SECONDS = 30.0
_POLL_SECONDS = 0.02


class Speed(NamedTuple):
    """From the first progress seen to the last: how long a process takes to start is not in it."""

    events: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def command(customer: str, ask: CustomerAsk, answered: bool, name: str = "") -> Command:
    """As an upstream service would send it, with a key of its own (`name`, or a random one) and no deadline."""
    name = name or secrets.token_hex(16)
    return Command(
        id=name,
        source="/bench",
        type=ask.TYPE,
        subject=customer,
        businessid=TENANT.business_id,
        mode="test",
        origin=Origin.SYSTEM,
        actor="bench",
        correlationid=name,
        idempotencykey=name,
        replyto=f"0/{name}" if answered else UNSET,
        data=encode_ask(ask),
    )


def opening(customers: list[str], balance: int, busy: int, entries: int) -> Iterator[Command]:
    """Each customer registered and credited; the first `busy` of them with more entries, for the reads."""
    for number, customer in enumerate(customers):
        profile = RegisterCustomer(name=f"Nguyễn Văn {number}", email=f"{customer}@example.com")
        yield command(customer, profile, answered=False)
        yield command(customer, CreditWallet(currency="USD", amount=balance), answered=False)
    for _ in range(entries):
        for customer in customers[:busy]:
            yield command(customer, CreditWallet(currency="USD", amount=1_000), answered=False)


def movements(customers: list[str], count: int, answered: bool) -> Iterator[Command]:
    """Credits and debits in turn, over all wallets."""
    for number in range(count):
        move = CreditWallet if number % 2 else DebitWallet
        ask = move(currency="USD", amount=100 + number % 900)
        yield command(customers[number * 7919 % len(customers)], ask, answered)


def produce(settings: Settings, commands: Iterable[Command]) -> None:
    """All of them, acknowledged."""
    asyncio.run(_produce(settings, commands))


async def _produce(settings: Settings, commands: Iterable[Command]) -> None:
    producer = AIOKafkaProducer(
        acks="all", linger_ms=5, max_batch_size=256 * 1024, **client_options(settings)
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                COMMANDS.name,
                encode_command(one),
                key=one.subject.encode(),
                partition=shard_of(one.subject, settings.shards),
            )
            for one in commands
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def count(stage: Stage, where: tuple[str, str]) -> int:
    """Events stored, or applied to the read models."""
    with psycopg.connect(stage.dsn(where[0])) as connection:
        return _count(connection, where[1])


def watch(
    stage: Stage,
    where: tuple[str, str],
    until: int,
    during: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Speed:
    """Look on while a count goes up to `until`; `during` is entered at the first progress.

    Raises:
        StandaloneError: a process died, or nothing moved for too long.
    """
    database, statement = where
    with psycopg.connect(stage.dsn(database), autocommit=True) as connection:
        before = _count(connection, statement)
        if before >= until:
            return Speed(0, 1.0)
        first = _progress(stage, connection, statement, before)
        began = time.monotonic()
        seen = first
        with during():
            while seen < until:
                seen = _progress(stage, connection, statement, seen)
            ended = time.monotonic()
    return Speed(until - first, max(ended - began, 1e-9))


def settle(stage: Stage) -> None:
    """The read models have everything: what was done before is not the next one's work."""
    watch(stage, APPLIED, count(stage, STORED))


def _progress(stage: Stage, connection: psycopg.Connection, statement: str, last: int) -> int:
    """The count once it is above `last`."""
    deadline = time.monotonic() + STALLED_SECONDS
    while (seen := _count(connection, statement)) <= last:
        stage.check_alive()
        if time.monotonic() > deadline:
            raise StandaloneError(f"no progress beyond {last} for {STALLED_SECONDS:g} s: {statement}")
        time.sleep(_POLL_SECONDS)
    return seen


def _count(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])
