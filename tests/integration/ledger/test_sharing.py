"""Workers share the shards: they come, leave in order, are killed and cut off while commands arrive."""

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

import pytest
from pydantic import SecretStr

from events.replies import Outcome
from tests.asking import Asker, credit, customer_in, registration
from tests.integration.ledger.conftest import SHARDS, audit
from tests.integration.ledger.proxy import Proxy
from tests.running import Process, System

pytestmark = pytest.mark.alone  # how long a take-over takes

SHARED_SECONDS_MAX = 5.0
HANDED_OVER_SECONDS_MAX = 1.0
"""Not the figure of a quiet machine, which `python -m benchmarks.handover` tells: below it nobody asks twice."""
TAKEOVER_SECONDS_MAX = 10.0


def shares(*workers: Process) -> list[int]:
    return [int(worker.metric("wallet_ledger_shards_owned")) for worker in workers]


async def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until it holds; this loop goes on meanwhile."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


class Traffic:
    """A credit of 1 for each shard in turn, each 10 ms, asked once; `slowest` since it was last looked at."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._customers = [customer_in(shard, SHARDS, uuid4().hex[:8]) for shard in range(SHARDS)]
        self._asks: set[asyncio.Task[None]] = set()
        self._slowest = 0.0
        self.answered = 0

    async def open(self) -> None:
        for customer in self._customers:
            assert (await self._asker.ask(customer, registration(), uuid4().hex)).outcome is Outcome.APPLIED

    async def run(self) -> None:
        number = 0
        while True:
            customer, number = self._customers[number % SHARDS], number + 1
            task = asyncio.create_task(self._ask(customer))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)
            await asyncio.sleep(0.01)

    async def _ask(self, customer: str) -> None:
        began = time.monotonic()
        reply = await self._asker.ask(customer, credit(1), uuid4().hex)
        assert reply.outcome is Outcome.APPLIED
        self.answered += 1
        self._slowest = max(self._slowest, time.monotonic() - began)

    async def slowest(self) -> float:
        """Of everything that was asked so far and not looked at yet."""
        await asyncio.gather(*self._asks)
        slowest, self._slowest = self._slowest, 0.0
        return slowest


async def test_workers_come_and_leave_and_nobody_asks_twice(system: System, asker: Asker) -> None:
    a, b, c = workers = [system.service("ledger", name) for name in "abc"]
    for worker in workers:
        worker.start()
    await until(lambda: all(worker.is_ready() for worker in workers), 30, "all are ready")
    await until(lambda: sorted(shares(a, b, c)) == [1, 1, 2], SHARED_SECONDS_MAX, "each has its share")
    traffic = Traffic(asker)
    await traffic.open()
    running = asyncio.create_task(traffic.run())

    leaving = asyncio.create_task(asyncio.to_thread(a.stop))
    await until(lambda: shares(b, c) == [2, 2], SHARED_SECONDS_MAX, "two have the shards of the third")
    await leaving
    assert await traffic.slowest() < HANDED_OVER_SECONDS_MAX

    a.start()
    await until(lambda: sorted(shares(a, b, c)) == [1, 1, 2], 30, "the third is back")
    assert await traffic.slowest() < HANDED_OVER_SECONDS_MAX
    running.cancel()
    assert traffic.answered > 50
    assert not any(worker.said("worker_starts_anew") for worker in workers)
    await audit(system, asker)


async def test_a_worker_cut_off_from_the_database_is_replaced(system: System, asker: Asker) -> None:
    proxy = Proxy(system.postgres.port)
    direct, port = system.settings.store_dsn.get_secret_value(), await proxy.start()
    behind = SecretStr(direct.replace(f":{system.postgres.port}/", f":{port}/"))
    cut_off, other = system.service("ledger", "cut-off", store_dsn=behind), system.service("ledger", "other")
    for worker in (cut_off, other):
        worker.start()
    await until(lambda: shares(cut_off, other) == [2, 2], 30, "each has its share")
    traffic = Traffic(asker)
    await traffic.open()
    running = asyncio.create_task(traffic.run())
    proxy.deaf = True
    await until(lambda: shares(other) == [SHARDS], TAKEOVER_SECONDS_MAX, "the other has all")
    running.cancel()
    assert await traffic.slowest() < TAKEOVER_SECONDS_MAX
    await until(lambda: "store" in cut_off.problems(), 5, "it says that it is cut off")
    await proxy.stop()  # it hears at last that its session is over, and nobody is there for a new one
    await until(lambda: cut_off.said("worker_starts_anew"), 10, "the old owner notices")
    await audit(system, asker)
