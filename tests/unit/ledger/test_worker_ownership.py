"""Who owns a shard, where its next owner goes on, and what an old one may still do."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from events.replies import Outcome
from services.ledger.batches import cache, decisions
from services.ledger.ports import Loaded
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.simulation import sim_loop, simulated
from tests.fakes.store import SessionLost
from tests.fakes.world import Node, World

A = "cus_a"
SHARDS = 4
TAKEOVER_SECONDS_MAX = 10.0


async def pair(world: World, one: Node, other: Node) -> tuple[Node, Node]:
    """Two that share the shards: first the one that has the customer's."""
    await one.owning(SHARDS // 2)
    await other.owning(SHARDS // 2)
    return (one, other) if world.shard(A) in one.worker.owned else (other, one)


@simulated
async def test_a_killed_owner_is_followed_at_once() -> None:
    world = World()
    async with world.node() as one, world.node() as two:
        owner, other = await pair(world, one, two)
        await world.ask(A, REGISTER)
        commit = owner.gate.hold("commit")
        asked = world.send(A, credit(5))
        await commit.reached.wait()
        owner.kill()
        await owner.end()
        assert await other.owning(SHARDS) < 2
        assert (await world.answer(asked)).balance_after == 5
        await world.taken()
    assert len(world.stored(A)) == 2


@simulated
async def test_a_frozen_owner_loses_its_lease_and_wakes_up_silent() -> None:
    world = World()
    async with world.node() as one, world.node() as two:
        owner, other = await pair(world, one, two)
        await world.ask(A, REGISTER)
        frozen = owner.gate.hold("fetch", "after")
        asked = world.send(A, credit(5))
        await frozen.reached.wait()
        assert await other.owning(SHARDS) < TAKEOVER_SECONDS_MAX
        assert (await world.answer(asked)).balance_after == 5
        frozen.released.set()
        assert isinstance(await owner.end(), SessionLost)
        assert len(world.replies(asked)) == 1
    assert len(world.stored(A)) == 2


@simulated
async def test_an_idle_owner_keeps_its_lease() -> None:
    world = World()
    async with world.node() as owner:
        await owner.owning(SHARDS)
        await asyncio.sleep(60)
        assert all(row.epoch == 1 for row in world.database.rows.values())


@simulated
async def test_a_long_scan_at_take_over_keeps_the_lease() -> None:
    world = World()
    async with world.node() as first:
        await world.ask(A, REGISTER)
        first.worker.stop()
    async with world.node() as owner:
        scan = owner.gate.hold("events_from", "after")
        await scan.reached.wait()
        async with world.node() as rival:
            await asyncio.sleep(15)
            assert rival.worker.owned == set()
            scan.released.set()
            await owner.owning(SHARDS // 2)


@simulated
async def test_a_session_lost_during_the_scan_leaves_no_task_behind() -> None:
    """A relay of a life before would throw the producer of the next one away."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
    async with world.node() as node:
        scan = node.gate.hold("events_from", "after")
        await scan.reached.wait()
        world.database.end_all()
        assert isinstance(await node.end(), SessionLost)
        assert sim_loop().tasks_of(node) == []


# --- bounds ---


@simulated
async def test_the_cold_aggregates_of_a_batch_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "BATCH_COLD_MAX", 7)
    world = World()
    asked = [world.send(f"cus_{number}", REGISTER) for number in range(40)]
    asked += [world.send(f"cus_{number}", credit(1)) for number in range(40)]
    async with world.node() as node:
        loads: list[int] = []
        load = node.store.load

        async def counted(streams: Sequence[Any], *rest: Any) -> Loaded:
            loads.append(len(streams))
            return await load(streams, *rest)

        monkeypatch.setattr(node.store, "load", counted)
        found = [await world.answer(one) for one in asked]
    assert {reply.outcome for reply in found} == {Outcome.APPLIED}
    assert max(loads) == 7
    assert sum(loads) == 40
    for number in range(40):
        stored = [event.type for event in world.stored(f"cus_{number}")]
        assert stored == ["customer.registered.v1", "wallet.credited.v1"]


@simulated
async def test_the_cache_of_aggregates_is_bounded_and_what_left_it_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "CACHE_BYTES_MAX", 3 * (cache.ENTRY_BYTES + 60))
    world = World()
    async with world.node() as node:
        for number in range(8):
            await world.ask(f"cus_{number}", REGISTER)
            await world.ask(f"cus_{number}", credit(number + 1))
        assert len(node.worker._decisions.cache) == 3
        for number in range(8):
            assert (await world.ask(f"cus_{number}", debit(1))).balance_after == number


@simulated
async def test_clocks_are_compared_with_every_heartbeat() -> None:
    world = World()
    async with world.node() as node:
        node.clock.ahead_seconds = 1.5
        await asyncio.sleep(2.5)
        assert 1.4 < node.worker.skew_seconds < 1.6


# --- handing back ---


@simulated
async def test_shards_are_handed_back_published() -> None:
    world = World()
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await publish.reached.wait()
        node.worker.stop()
        await asyncio.sleep(2)
        assert world.database.locks != {}
        publish.released.set()
        assert await node.end() is None
    row = world.database.rows[world.shard(A)]
    assert (row.published_sequence, row.published_offset) == (1, 0)
    assert world.database.locks == {}


@simulated
async def test_a_publish_that_takes_too_long_is_the_next_owners_and_no_failure() -> None:
    """Waiting for it must not cost the session in which the shards are handed back."""
    world = World()
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await publish.reached.wait()
        node.worker.stop()
        assert await node.end() is None
    async with world.node():
        await world.taken()


@simulated
async def test_the_batch_at_hand_is_finished_before_the_shards_are_handed_back() -> None:
    world = World()
    async with world.node() as node:
        commit = node.gate.hold("commit")
        asked = world.send(A, REGISTER)
        await commit.reached.wait()
        node.worker.stop()
        commit.released.set()
        assert await node.end() is None
        assert (await world.answer(asked)).outcome is Outcome.APPLIED
    assert world.database.rows[world.shard(A)].position == 0
