"""PostgreSQL stands still while commands arrive: the worker stays small, catches up, and nothing is lost or doubled."""

import asyncio
import time
from collections import Counter
from hashlib import sha256
from uuid import uuid4

import psutil

from tests.asking import Asker, credit, customer_in, registration
from tests.auditing import outcomes_of
from tests.integration.ledger.conftest import SHARDS, audit, published
from tests.running import System, eventually

FROZEN_SECONDS = 4.0
COMMANDS = 4_000
GROWTH_MAX = 50 * 1024 * 1024
STORED = "SELECT sum(sequence)::bigint FROM shards"


async def test_a_standstill_of_the_database_costs_no_memory_and_no_command(
    system: System, asker: Asker
) -> None:
    worker = system.started("ledger")
    mark = uuid4().hex[:8]
    customers = [customer_in(shard, SHARDS, mark) for shard in range(SHARDS)]
    for customer in customers:
        await asker.ask(customer, registration(), f"register {customer}")
    with system.store() as store:
        [(before,)] = store.execute(STORED)
    process = psutil.Process(worker.pid)
    small = process.memory_info().rss
    system.postgres.freeze()
    frozen = time.monotonic()
    keys = [f"{mark} {number}" for number in range(COMMANDS)]
    for start in range(0, COMMANDS, 200):
        asked = enumerate(keys[start : start + 200])
        await asyncio.gather(*(asker.send(customers[n % SHARDS], credit(1), key) for n, key in asked))
    await asyncio.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - frozen)))
    assert process.memory_info().rss - small < GROWTH_MAX
    system.postgres.thaw()
    with system.store() as store:
        eventually(
            lambda: store.execute(STORED).fetchall() == [(before + COMMANDS,)], 60, what="all is decided"
        )
    assert process.memory_info().rss - small < GROWTH_MAX
    told = outcomes_of(await published(system))
    assert Counter(len(told[sha256(key.encode()).hexdigest()]) for key in keys) == {1: COMMANDS}
    await audit(system, asker)
