"""A batch costs the same few statements on real servers, however many of its customers are not in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from events.codec import decode_reply
from events.commands import CustomerAsk
from events.replies import Outcome
from events.sharding import shard_of
from services.keyring import DataKeys, KeyRing
from services.ledger import worker as worker_module
from services.ledger.batches import decisions, folding
from services.ledger.store import statements
from services.ledger.store.postgres import PostgresStore
from services.ledger.worker import Worker
from services.migrate import migrate_database
from tests.fakes.asking import REGISTER, command, correlation, credit
from tests.fakes.broker import MemoryBroker, MemoryKafka
from tests.fakes.keys import GlassCoffin
from tests.fakes.world import CONFIGURED

SHARDS = 4
STATEMENTS_MAX = 8
KEK = bytes(range(32))
BESIDE = {
    statements.TRY_LOCK, statements.NEXT_EPOCH, statements.UNLOCK, statements.LEAVE, statements.PEERS,
    statements.BEAT, statements.NOTE_PUBLISHED, statements.PRUNE_ATTEMPTS, statements.KEEP_SNAPSHOTS,
}  # fmt: skip
"""Of electing and of heartbeats: they come with the seconds, not with the batches."""


class Clock:
    def micros(self) -> int:
        return time.time_ns() // 1_000


class Ledger:
    """Real databases; Kafka in memory, so that a test says what a batch is."""

    def __init__(self, store: str, keys: str) -> None:
        self.store, self.keys = store, keys
        self.kafka = MemoryKafka(SHARDS)
        self._numbers = 0

    def send(self, customer: str, ask: CustomerAsk, **more: Any) -> str:
        self._numbers += 1
        value = command(self._numbers, customer, ask, **more)
        self.kafka.send(shard_of(customer, SHARDS), value)
        return correlation(self._numbers)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """One that has nothing in memory yet."""
        worker = Worker(
            store=PostgresStore(self.store, "counted"),
            broker=MemoryBroker(self.kafka),
            clock=Clock(),
            keys=DataKeys(KeyRing(self.keys, KEK)),
            coffin=GlassCoffin(),
            configured=CONFIGURED,
            shards=SHARDS,
        )
        running = asyncio.create_task(worker.run())
        yield
        worker.stop()
        await asyncio.wait_for(running, 20)

    async def outcomes(self, asked: list[str]) -> list[str]:
        """What was answered, once all are; `+` for a replay."""
        async with asyncio.timeout(20):
            while True:
                replies = [decode_reply(value) for _, value in self.kafka.replies]
                found = {one.correlation: one.outcome.value + "+" * one.replayed for one in replies}
                if found.keys() >= set(asked):
                    return [found[one] for one in asked]
                await asyncio.sleep(0.02)


@pytest.fixture
def ledger(database: Callable[[str], str]) -> Ledger:
    made = Ledger(database("store"), database("keys"))
    migrate_database("store", made.store, SHARDS)
    migrate_database("keys", made.keys, SHARDS)
    return made


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement of this process, as it is sent."""
    texts: list[str] = []
    for name in ("execute", "stream"):
        send = getattr(psycopg.Cursor, name)

        def told(cursor: Any, query: Any, *rest: Any, send: Any = send, **more: Any) -> Any:
            texts.append(query)
            return send(cursor, query, *rest, **more)

        monkeypatch.setattr(psycopg.Cursor, name, told)
    return texts


@pytest.fixture(autouse=True)
def _snapshots_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decisions, folding):
        monkeypatch.setattr(module, "SNAPSHOT_EVERY", 2)
    monkeypatch.setattr(worker_module, "HEARTBEAT_SECONDS", 0.1)


async def of_one_batch(ledger: Ledger, said: list[str], customers: list[str], newcomer: str) -> list[str]:
    """Keyless retries and new ones for customers of long ago, and a registration: all at once, all cold."""
    retried = [ledger.send(customer, credit(5), attempt=1) for customer in customers]
    asked = [ledger.send(customer, credit(1)) for customer in customers]
    registered = ledger.send(newcomer, REGISTER)
    said.clear()
    async with ledger.worker():
        outcomes = await ledger.outcomes([*retried, *asked, registered])
    assert outcomes == ["applied+"] * len(retried) + ["applied"] * (len(asked) + 1)
    begun = said.index(statements.SNAPSHOTS)
    batch = [text for text in said[begun:] if text not in BESIDE]
    assert batch.count(statements.COMMIT_BATCH) == 1
    return batch


async def test_a_batch_costs_at_most_eight_statements_however_many_customers_are_cold(
    ledger: Ledger, said: list[str]
) -> None:
    customers = [f"cus_{number}" for number in range(decisions.BATCH_COLD_MAX - 1)]
    asked = [ledger.send(customer, REGISTER) for customer in customers]
    asked += [ledger.send(customer, credit(5)) for customer in customers]
    async with ledger.worker():
        assert set(await ledger.outcomes(asked)) == {Outcome.APPLIED}
        await kept(ledger, len(customers) // 2)
    many = await of_one_batch(ledger, said, customers[1:], "cus_new_1")
    one = await of_one_batch(ledger, said, customers[:1], "cus_new_2")
    assert many == one
    assert len(many) <= STATEMENTS_MAX


async def kept(ledger: Ledger, count: int) -> None:
    """Until so many customers have snapshots; the others have none: it must make no difference."""
    async with await psycopg.AsyncConnection.connect(ledger.store, autocommit=True) as connection:
        async with asyncio.timeout(20):
            while True:
                found = await connection.execute("SELECT count(*) FROM snapshots")
                if (await found.fetchall())[0][0] >= count:
                    break
                await asyncio.sleep(0.05)
        await connection.execute("DELETE FROM snapshots WHERE get_byte(uuid_send(stream), 0) < 128")
