"""Where a new owner reads on, and when it reads everything again."""

import asyncio

import pytest
from structlog.typing import EventDict

from events.commands import CustomerAsk
from events.replies import Outcome
from events.sharding import shard_of
from services.ledger.batches import decisions
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.simulation import simulated
from tests.fakes.world import World

A = "cus_a"


SHARDS = 4


@simulated
async def test_a_new_owner_goes_on_behind_the_last_command() -> None:
    world = World()
    asked = [world.send(A, ask) for ask in (REGISTER, credit(5), debit(1))]
    async with world.node():
        await world.taken()
    async with world.node():
        assert (await world.ask(A, credit(1))).balance_after == 5
    assert [len(world.replies(one)) for one in asked] == [1, 1, 1]


@simulated
async def test_a_bad_record_is_a_position_too(logs: list[EventDict]) -> None:
    world = World()
    world.send_bytes(world.shard(A), b"{")
    async with world.node():
        await world.taken()
    async with world.node():
        assert (await world.ask(A, REGISTER)).outcome is Outcome.APPLIED
    assert len(world.kafka.dead_letters) == 1
    assert "position_unverified" not in [entry["event"] for entry in logs]


@simulated
async def test_another_command_at_the_position_is_an_alarm_and_the_log_is_read_again(
    logs: list[EventDict],
) -> None:
    """The topic was made again and filled from a copy: offsets say nothing, receipts everything."""
    world = World()
    shard = world.shard(A)
    asks: list[CustomerAsk] = [REGISTER, credit(5), debit(6)]
    asked = [world.send(A, ask, key=f"k{number}") for number, ask in enumerate(asks)]
    async with world.node():
        await world.taken()
    copies = world.kafka.commands[shard]
    world.kafka.recreate_commands(shard)
    world.rereading = True
    world.send_bytes(shard, b"{")
    for value in copies:
        world.kafka.send(shard, value)
    async with world.node():
        assert (await world.ask(A, credit(1))).balance_after == 6
        await world.taken()
    for one in asked:
        first, again = world.replies(one)
        assert (first.position, first.replayed, again.replayed) == (again.position, False, True)
    assert len(world.stored()) == 4
    alarms = [entry for entry in logs if entry["event"] == "position_unverified"]
    assert [(entry["shard"], entry["log_level"]) for entry in alarms] == [(shard, "error")]


@simulated
async def test_a_log_without_the_position_is_read_from_what_is_left() -> None:
    world = World()
    shard = world.shard(A)
    async with world.node():
        await world.ask(A, REGISTER, key="k")
    world.kafka.recreate_commands(shard)
    world.rereading = True
    async with world.node():
        assert (await world.ask(A, credit(5))).balance_after == 5
    world.kafka.truncate_commands(shard, 1)
    async with world.node():
        assert (await world.ask(A, credit(5))).balance_after == 10
    assert len(world.stored(A)) == 3


@simulated
async def test_a_log_that_is_read_again_is_read_from_its_beginning_although_more_shards_come() -> None:
    """The next take-over must not move the reader to behind the position that was not verified."""
    world = World()
    first, second = world.customer_in(0), world.customer_in(1)
    for _ in range(3):
        world.send(first, REGISTER)
    async with world.node():
        await world.taken()
    world.kafka.recreate_commands(0)
    world.rereading = True
    world.database.moved = {1, 2, 3}
    async with world.node() as node:
        await node.owning(1)
        world.database.moved = set()
        await node.owning(SHARDS)
        assert (await world.ask(first, credit(5))).balance_after == 5
        assert (await world.ask(second, REGISTER)).outcome is Outcome.APPLIED


@simulated
async def test_what_waits_in_memory_is_not_taken_twice_when_more_shards_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A take-over reads every shard on from its row: what was fetched and not decided comes again."""
    monkeypatch.setattr(decisions, "BATCH_COLD_MAX", 1)
    world = World()
    names = [name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) == 0][:6]
    world.database.moved = {1, 2, 3}
    asked = [world.send(name, REGISTER) for name in names]
    async with world.node() as node:
        commit = node.gate.hold("commit")
        await commit.reached.wait()
        world.database.moved = set()
        await asyncio.sleep(1.5)
        commit.released.set()
        await node.owning(SHARDS)
        await world.taken()
        await asyncio.sleep(1)
    assert [len(world.replies(one)) for one in asked] == [1] * 6
