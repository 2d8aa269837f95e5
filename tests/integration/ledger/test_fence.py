"""A worker is lost in every way there is; another takes its shards, and the old one stays silent."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow

from events.commands import CustomerAsk
from events.replies import Outcome
from events.sharding import shard_of
from tests.asking import Asker, Sent, credit, customer_in, debit, registration
from tests.auditing import Told, outcomes_of
from tests.integration.ledger.conftest import SHARDS, audit, published
from tests.running import Process, System, eventually

pytestmark = pytest.mark.alone  # how long a take-over takes

TAKEOVER_SECONDS_MAX = 10.0
OWNER = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 5718348 AND objid = 0 AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
LOCK_WAITERS = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'wallet-ledger'"
)
COUNT = "SELECT count(*) FROM stored_events"
OWNED = "wallet_ledger_shards_owned"


class Pair(NamedTuple):
    """Two workers that share the shards: `owner` has the first of them."""

    system: System
    asker: Asker
    owner: Process
    other: Process
    customers: list[str]


@pytest.fixture
async def pair(system: System, asker: Asker) -> AsyncIterator[Pair]:
    owner, other = system.service("ledger", "owner"), system.service("ledger", "other")
    owner.start()
    eventually(lambda: owner.metric(OWNED) == SHARDS, what="the first worker owns all")
    other.start()
    eventually(lambda: shares(owner, other) == [2, 2], what="both have their share")
    mark = uuid4().hex[:8]
    customers = [customer_in(shard, SHARDS, mark) for shard in range(SHARDS)]
    for customer in customers:
        assert (await asker.ask(customer, registration(), f"register {customer}")).outcome is Outcome.APPLIED
        assert (await asker.ask(customer, credit(1000), f"first {customer}")).balance_after == 1000
    yield Pair(system, asker, owner, other, customers)
    await audit(system, asker)


def shares(*workers: Process) -> list[int]:
    return [int(worker.metric(OWNED)) for worker in workers]


class Traffic:
    """Credits of 1 for all shards, each insisted upon under its own key."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._mark = uuid4().hex
        self._asks: list[asyncio.Task[float]] = []
        self.keys: list[str] = []
        self._begun = time.monotonic()

    def burst(self, count: int) -> None:
        """This many for each shard, now."""
        for _ in range(count):
            for customer in self._pair.customers:
                key = f"{self._mark}-{len(self.keys)}"
                self.keys.append(key)
                self._asks.append(asyncio.create_task(self._one(customer, key)))

    async def _one(self, customer: str, key: str) -> float:
        reply = await self._pair.asker.insist(customer, credit(1), key)
        assert reply.outcome is Outcome.APPLIED
        return time.monotonic() - self._begun

    async def steady(self, seconds: float) -> None:
        """A burst each 100 ms."""
        for _ in range(int(seconds * 10)):
            self.burst(1)
            await asyncio.sleep(0.1)

    def fault(self) -> None:
        """What is asked from now on finds the owner lost."""
        self._begun = time.monotonic()

    async def answered(self) -> float:
        """Seconds from the fault until every shard answered."""
        return max(await asyncio.gather(*self._asks))

    async def applied_once(self) -> None:
        """Each key in the topic, once."""
        outcomes = await told(self._pair.system)
        assert [len(outcomes[sha256(key.encode()).hexdigest()]) for key in self.keys] == [1] * len(self.keys)


async def told(system: System) -> dict[str, list[Told]]:
    """Events of the topic by the hash of their key."""
    return outcomes_of(await published(system))


def sessions(store: psycopg.Connection[TupleRow], query: str) -> list[int]:
    return [pid for (pid,) in store.execute(query)]


def epochs(store: psycopg.Connection[TupleRow]) -> list[int]:
    return [epoch for (epoch,) in store.execute("SELECT epoch FROM shards ORDER BY shard")]


async def measured(traffic: Traffic, what: str, record: "pytest.FixtureRequest") -> None:
    """The take-over was fast enough, and nothing was applied twice or not at all."""
    seconds = await traffic.answered()
    record.node.user_properties.append(("takeover_seconds", round(seconds, 2)))
    print(f"take-over, {what}: {seconds:.2f} s")
    assert seconds <= TAKEOVER_SECONDS_MAX
    await traffic.applied_once()


async def test_the_owners_session_is_terminated(pair: Pair, request: pytest.FixtureRequest) -> None:
    traffic = Traffic(pair)
    with pair.system.store() as store:
        (owner,) = sessions(store, OWNER)
        await traffic.steady(0.5)
        store.execute("SELECT pg_terminate_backend(%s)", [owner])
        traffic.fault()
        await traffic.steady(1)
        await measured(traffic, "session terminated", request)
        assert sessions(store, OWNER) != [owner]
    assert pair.owner.said("worker_starts_anew")


async def test_a_killed_owner_is_replaced(pair: Pair, request: pytest.FixtureRequest) -> None:
    traffic = Traffic(pair)
    await traffic.steady(0.5)
    pair.owner.kill()
    traffic.fault()
    await traffic.steady(0.5)
    await measured(traffic, "kill -9", request)
    assert pair.other.metric(OWNED) == SHARDS


async def test_a_frozen_owner_loses_its_shards_and_says_nothing_when_it_wakes(
    pair: Pair, request: pytest.FixtureRequest
) -> None:
    traffic = Traffic(pair)
    await traffic.steady(0.5)
    pair.owner.freeze()
    traffic.fault()
    traffic.burst(5)
    await measured(traffic, "SIGSTOP", request)
    assert pair.other.metric(OWNED) == SHARDS
    await wakes_in_vain(pair)


async def wakes_in_vain(pair: Pair) -> None:
    """The woken worker finds out that it lost everything, and gets its share only by way of the other."""
    with pair.system.store() as store:
        ((events,),), before = store.execute(COUNT).fetchall(), epochs(store)
        replies = {correlation: len(found) for correlation, found in pair.asker.replies.items()}
        log = pair.owner.log.stat().st_size
        pair.owner.thaw()
        eventually(
            lambda: pair.owner.said("worker_starts_anew", since=log), 15, what="the woken worker notices"
        )
        eventually(lambda: shares(pair.owner, pair.other) == [2, 2], what="both have their share")
        assert (await pair.asker.ask(pair.customers[0], debit(1), uuid4().hex)).outcome is Outcome.APPLIED
        assert store.execute(COUNT).fetchall() == [(events + 1,)]
        assert sum(epochs(store)) == sum(before) + 2
    assert {c: len(found) for c, found in pair.asker.replies.items() if c in replies} == replies


async def stuck(pair: Pair, store: psycopg.Connection[TupleRow], ask: CustomerAsk, key: str) -> Sent:
    """A command whose commit waits for a row lock of the test."""
    customer = pair.customers[0]
    store.execute("SELECT 1 FROM shards WHERE shard = %s FOR UPDATE", [shard_of(customer, SHARDS)])
    sent = await pair.asker.send(customer, ask, key)
    with pair.system.store() as other:
        eventually(lambda: sessions(other, LOCK_WAITERS), 5, what="the owner waits for the lock")
    return sent


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_an_owner_is_lost_while_it_waits_for_a_row_lock(
    pair: Pair, fault: str, request: pytest.FixtureRequest
) -> None:
    traffic, key = Traffic(pair), uuid4().hex
    with pair.system.store() as watch, pair.system.store() as holder:
        (owner,) = sessions(watch, OWNER)
        with holder.transaction():
            sent = await stuck(pair, holder, debit(1000), key)
            pair.owner.kill() if fault == "kill" else pair.owner.freeze()
            traffic.fault()
            alive = "SELECT pid FROM pg_stat_activity WHERE pid = " + str(owner)
            eventually(lambda: not sessions(watch, alive), 10, what="the server ends the owner's session")
        traffic.burst(2)
        await measured(traffic, f"{fault} in a lock wait", request)
    assert (await pair.asker.reply(sent)).outcome is Outcome.APPLIED
    if fault == "freeze":
        await wakes_in_vain(pair)
    assert [
        one.envelope.commandid for one in (await told(pair.system))[sha256(key.encode()).hexdigest()]
    ] == [sent.command.id]


async def test_a_row_that_another_owner_took_stops_a_worker_whose_session_lives(pair: Pair) -> None:
    """The lock only elects: here it is still held, and does not help."""
    key = uuid4().hex
    with pair.system.store() as store:
        store.execute("UPDATE shards SET epoch = epoch + 1 WHERE shard = 0")
        customer = pair.customers[0]
        reply = await pair.asker.ask(customer, debit(400), key)
    assert (reply.outcome, reply.balance_after) == (Outcome.APPLIED, 600)
    assert pair.owner.said("worker_starts_anew", "OwnershipLost")
    assert len((await told(pair.system))[sha256(key.encode()).hexdigest()]) == 1
