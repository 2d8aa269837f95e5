"""Several workers share the shards: fairly, soon, without quarrel; what one hands over the next reads on."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import pytest

from services.ledger.ownership import LOOK_SECONDS, REFUSED_SECONDS, fair_share
from services.ledger.ports import CommandRecord, Peers, StoredRow
from services.ledger.worker import SURPLUS_SECONDS
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.simulation import simulated, until
from tests.fakes.world import Node, World

SHARDS = 32
SHARED_SECONDS_MAX = 5.0
HANDED_OVER_SECONDS_MAX = 0.3
NONE: frozenset[int] = frozenset()


def shares(*nodes: Node) -> list[int]:
    return sorted((len(node.worker.owned) for node in nodes), reverse=True)


async def shared(world: World, *nodes: Node) -> float:
    """Until all is owned and every share is fair; the seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    wanted = [fair_share(world.shards, Peers(len(nodes), place, NONE)) for place in range(len(nodes))]
    await until(lambda: shares(*nodes) == wanted)
    owned = [shard for node in nodes for shard in node.worker.owned]
    assert sorted(owned) == list(range(world.shards))
    return loop.time() - began


def epochs(world: World) -> list[int]:
    return [row.epoch for row in world.database.rows.values()]


@pytest.mark.parametrize("shards", [1, 4, 32, 1024])
@pytest.mark.parametrize("live", [1, 2, 3, 5, 7, 12, 40])
def test_shares_differ_by_one_at_most_and_are_all_together(shards: int, live: int) -> None:
    found = [fair_share(shards, Peers(live, place, NONE)) for place in range(live)]
    assert sum(found) == shards
    assert max(found) - min(found) <= 1


@simulated
async def test_three_workers_hold_11_11_and_10_and_then_nothing_moves() -> None:
    world = World(SHARDS)
    async with world.node() as a, world.node() as b, world.node() as c:
        assert await shared(world, a, b, c) < SHARED_SECONDS_MAX
        assert shares(a, b, c) == [11, 11, 10]
        before = epochs(world)
        await asyncio.sleep(120)
        assert epochs(world) == before


@simulated
async def test_a_new_worker_gets_its_share_and_only_that_moves() -> None:
    world = World(SHARDS)
    async with world.node() as a, world.node() as b:
        await shared(world, a, b)
        before = epochs(world)
        async with world.node() as c:
            assert await shared(world, a, b, c) < SHARED_SECONDS_MAX
            assert sum(epochs(world)) - sum(before) == len(c.worker.owned)


@simulated
async def test_more_workers_than_shards_stand_by_until_there_is_something() -> None:
    world = World(shards=2)
    async with world.node() as a, world.node() as b, world.node() as c:
        await shared(world, a, b, c)
        assert shares(a, b, c) == [1, 1, 0]
        before = epochs(world)
        await asyncio.sleep(60)
        assert epochs(world) == before
        leaver, *others = sorted((a, b, c), key=lambda node: -len(node.worker.owned))
        leaver.worker.stop()
        assert await shared(world, *others) < HANDED_OVER_SECONDS_MAX


@simulated
async def test_a_worker_that_leaves_hands_over_at_once_while_commands_arrive() -> None:
    world = World(SHARDS)
    customers = [world.customer_in(shard) for shard in range(SHARDS)]
    async with world.node() as a, world.node() as b:
        await shared(world, a, b)
        for customer in customers:
            await world.ask(customer, REGISTER)
        loop = asyncio.get_running_loop()

        async def asks(customer: str) -> float:
            began = loop.time()
            await world.ask(customer, credit(1))
            return loop.time() - began

        asked = []
        for number in range(200):
            asked.append(asyncio.create_task(asks(customers[number % SHARDS])))
            await asyncio.sleep(0.005)
            if number == 60:
                a.worker.stop()
        assert max(await asyncio.gather(*asked)) < HANDED_OVER_SECONDS_MAX
        assert await a.end() is None
        assert len(b.worker.owned) == SHARDS
        await world.taken()
    assert len(world.stored()) == SHARDS + 200


@simulated
async def test_what_was_handed_over_and_comes_back_is_read_afresh() -> None:
    world = World(shards=2)
    customer = world.customer_in(1)  # the one that a worker with both hands over
    async with world.node() as a:
        await world.ask(customer, REGISTER)
        await world.ask(customer, credit(10))
        async with world.node() as b:
            await shared(world, a, b)
            assert b.worker.owned == {1}
            assert (await world.ask(customer, debit(10))).balance_after == 0
        await shared(world, a)
        refused = await world.ask(customer, debit(10))
        assert (refused.code, refused.balance_before) == ("INSUFFICIENT_WALLET_FUNDS", 0)
        assert (await world.ask(customer, credit(1))).balance_after == 1


@simulated
async def test_a_shard_whose_events_cannot_be_published_is_not_handed_to_another() -> None:
    world = World(shards=2)
    customers = [world.customer_in(shard) for shard in range(2)]
    async with world.node() as a:
        await a.owning(2)
        publish = a.gate.hold("publish")
        for customer in customers:
            await world.ask(customer, REGISTER)
        async with world.node() as b:
            await asyncio.sleep(5)
            assert (a.worker.owned, b.worker.owned) == ({0, 1}, set())
            assert (await world.ask(customers[1], credit(1))).balance_after == 1
            publish.released.set()
            await shared(world, a, b)


@simulated
async def test_a_shard_that_cannot_be_handed_over_stops_no_other_and_another_moves_instead() -> None:
    world = World()
    sick = world.shards - 1  # the first that a worker with too many hands over
    async with world.node() as a:
        await a.owning(world.shards)
        far_away(a)
        hold_publish(a, sick)
        for shard in range(world.shards):
            await world.ask(world.customer_in(shard), REGISTER)
        async with world.node() as b:
            loop = asyncio.get_running_loop()
            took = []
            for number in range(40):
                began = loop.time()
                await world.ask(world.customer_in(number % world.shards), credit(1))
                took.append(loop.time() - began)
                await asyncio.sleep(0.2)
            assert max(took) < 2 * SURPLUS_SECONDS
            assert sorted(took)[-3] < HANDED_OVER_SECONDS_MAX, "it is not tried again and again"
            assert shares(a, b) == [2, 2]
            assert sick in a.worker.owned


def hold_publish(node: Node, sick: int) -> None:
    """This partition of the topic takes nothing, as long as the process lives."""
    publish = node.broker.publish

    async def held(shard: int, events: Sequence[StoredRow]) -> int:
        if shard == sick:
            await asyncio.Event().wait()
        return await publish(shard, events)

    node.broker.publish = held  # type: ignore[method-assign]


def far_away(node: Node) -> None:
    """What is assigned comes after a round trip, as from Kafka: a fetch that does not wait finds nothing."""
    loop, assign, fetch = asyncio.get_running_loop(), node.broker.assign, node.broker.fetch
    due = 0.0

    def assigned(next_offsets: Mapping[int, int]) -> None:
        nonlocal due
        due = loop.time() + 0.003
        assign(next_offsets)

    async def fetched(timeout_seconds: float, records_max: int) -> list[CommandRecord]:
        missing = max(0.0, due - loop.time())
        await asyncio.sleep(min(missing, timeout_seconds))
        return await fetch(timeout_seconds - missing, records_max) if missing <= timeout_seconds else []

    node.broker.assign, node.broker.fetch = assigned, fetched  # type: ignore[method-assign]


@simulated
async def test_a_worker_lost_while_it_hands_over_is_replaced() -> None:
    world = World(SHARDS)
    async with world.node() as a, world.node() as b:
        await shared(world, a, b)
        release = a.gate.hold("release")
        a.worker.stop()
        await release.reached.wait()
        a.kill()
        await a.end()
        assert await shared(world, b) < SHARED_SECONDS_MAX


# --- refused shards ---


async def diverged(world: World, shard: int) -> None:
    """The topic of this shard is ahead of the store."""
    async with world.node():
        await world.ask(world.customer_in(shard), REGISTER)
        await world.taken()
    world.kafka.append(shard, [(b"", b"{}")])


@simulated
async def test_a_refused_shard_is_tried_seldom_and_the_others_are_shared() -> None:
    world = World(SHARDS)
    await diverged(world, 7)
    async with world.node() as a, world.node() as b:
        await until(lambda: sum(shares(a, b)) == SHARDS - 1)
        assert max(shares(a, b)) <= SHARDS // 2 + 1
        await asyncio.sleep(3)
        before = epochs(world)
        await asyncio.sleep(10 * REFUSED_SECONDS)
        moved = [after - then for after, then in zip(epochs(world), before, strict=True)]
        assert sum(moved) == moved[7] <= 2 * 11
        assert world.database.locks.keys() == set(range(SHARDS)) - {7}


@simulated
async def test_a_refused_shard_is_taken_once_its_topic_is_whole_again() -> None:
    world = World(SHARDS)
    await diverged(world, 7)
    async with world.node() as a, world.node() as b:
        await until(lambda: sum(shares(a, b)) == SHARDS - 1)
        await until(lambda: a.worker.refused | b.worker.refused == {7})
        world.kafka.events[7].pop()
        await shared(world, a, b)
        await asyncio.sleep(3 * REFUSED_SECONDS)
        assert a.worker.refused | b.worker.refused == set()
        await shared(world, a, b)


@simulated
async def test_a_worker_that_is_wrong_about_the_topic_leaves_its_share_to_the_others() -> None:
    world = World(SHARDS)
    for shard in range(0, SHARDS, 8):
        async with world.node():
            await world.ask(world.customer_in(shard), REGISTER)
            await world.taken()
    async with world.node() as wrong:
        wrong.broker.events_from = _foreign  # type: ignore[method-assign]
        async with world.node() as right:
            await until(lambda: sum(shares(wrong, right)) == SHARDS)
            assert set(range(0, SHARDS, 8)) <= right.worker.owned
            await asyncio.sleep(3)
            before = epochs(world)
            await asyncio.sleep(5 * REFUSED_SECONDS)
            assert sum(epochs(world)) - sum(before) <= 2


async def _foreign(
    offsets: Mapping[int, int], unwanted: Collection[int] = ()
) -> AsyncIterator[tuple[int, int, bytes]]:
    """Another cluster's topic, where shards that have events have others."""
    for shard, offset in offsets.items():
        if offset > -1 and shard % 8 == 0:
            yield shard, offset, b"{}"


# --- the price of sharing ---


@simulated
async def test_a_worker_that_is_alone_looks_for_others_with_its_heartbeat_only() -> None:
    world = World(SHARDS)
    async with world.node() as alone:
        await alone.owning(SHARDS)
        assert await looks(alone) <= 11
        async with world.node() as other:
            await shared(world, alone, other)
            await asyncio.sleep(15)
            assert await looks(alone) <= 10 / LOOK_SECONDS


async def looks(node: Node, seconds: float = 10.0) -> int:
    """How often it asks who is there."""
    count = 0

    def on_pass(call: str, phase: str) -> None:
        nonlocal count
        count += (call, phase) == ("peers", "before")

    node.gate.on_pass = on_pass
    await asyncio.sleep(seconds)
    node.gate.on_pass = None
    return count


@simulated
async def test_workers_that_come_and_go_at_once_end_in_a_fair_share() -> None:
    world = World(SHARDS)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(world.node()) for _ in range(6)]
        await asyncio.sleep(0.3)
        nodes[0].worker.stop()
        nodes[1].kill()
        nodes += [await stack.enter_async_context(world.node()) for _ in range(2)]
        await asyncio.sleep(0.05)
        nodes[2].kill()
        assert await shared(world, *nodes[3:]) < SHARED_SECONDS_MAX
        for node in nodes[1:3]:
            await node.end()
