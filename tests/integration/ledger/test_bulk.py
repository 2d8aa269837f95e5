"""Bulk records on real servers: the largest one, and workers that die among them."""

import asyncio
from uuid import uuid4

from events.commands import BULK_ENTRIES_MAX
from events.replies import Outcome, Reply
from tests.asking import Asker, credit, customer_in, debit, registration
from tests.fakes.asking import bulk, entry
from tests.integration.ledger.conftest import SHARDS, audit
from tests.running import System

SHARD = 1
RECORDS = 12


async def customers(asker: Asker, count: int) -> list[str]:
    """Registered, all in one shard."""
    names = [customer_in(SHARD, SHARDS, uuid4().hex[:8]) for _ in range(count)]
    for name in names:
        assert (await asker.ask(name, registration(), f"register {name}")).outcome is Outcome.APPLIED
    return names


async def test_a_thousand_entries_are_one_record_and_one_answer(system: System, asker: Asker) -> None:
    system.service("ledger", "worker").start()
    [customer] = await customers(asker, 1)
    entries = [
        entry(customer, credit(2) if n % 2 == 0 else debit(1), f"{n}") for n in range(BULK_ENTRIES_MAX)
    ]
    reply = await asker.ask(customer, bulk(*entries, together=True))
    assert [one.outcome for one in reply.entries] == [Outcome.APPLIED] * BULK_ENTRIES_MAX
    assert reply.entries[-1].balance_after == BULK_ENTRIES_MAX // 2
    again = await asker.ask(customer, bulk(*entries, together=True))
    assert all(one.replayed for one in again.entries)
    assert [one.position for one in again.entries] == [one.position for one in reply.entries]
    await audit(system, asker)


async def test_whoever_dies_among_bulk_records_each_entry_is_booked_once(
    system: System, asker: Asker
) -> None:
    first, second = (system.service("ledger", name) for name in ("worker-1", "worker-2"))
    first.start()
    names = await customers(asker, 5)

    async def booked(number: int) -> Reply:
        entries = [entry(name, credit(1), f"{number}.{n}") for name in names for n in range(20)]
        return await asker.insist(names[0], bulk(*entries, together=number % 2 == 0), "")

    asking = [asyncio.create_task(booked(number)) for number in range(RECORDS)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    first.kill()
    second.start()
    replies = await asyncio.gather(*asking)
    assert {one.outcome for reply in replies for one in reply.entries} == {Outcome.APPLIED}
    for name in names:
        found = await asker.ask(name, credit(1), f"last {name}")
        assert found.balance_after == RECORDS * 20 + 1
    await audit(system, asker)
