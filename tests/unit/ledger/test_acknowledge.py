"""`acknowledge = store+topic`: no answer about an event before the topic has it."""

import asyncio

from events.replies import Outcome
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.broker import PublishFailed
from tests.fakes.simulation import START_MICROS, simulated
from tests.fakes.world import World

A = "cus_a"


@simulated
async def test_an_answer_waits_for_its_event_to_be_published() -> None:
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        publish = node.gate.hold("publish")
        applied, refused = world.send(A, REGISTER), world.send(A, debit(1))
        await publish.reached.wait()
        await asyncio.sleep(2)
        assert world.kafka.replies == []
        assert world.database.rows[world.shard(A)].sequence == 2
        publish.released.set()
        assert (await world.answer(applied)).outcome is Outcome.APPLIED
        assert (await world.answer(refused)).outcome is Outcome.REFUSED


@simulated
async def test_a_failed_publish_delays_the_answer_until_it_is_done() -> None:
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        node.gate.fail("publish", "before", PublishFailed("away"), PublishFailed("away"))
        reply = await world.ask(A, REGISTER)
        assert reply.outcome is Outcome.APPLIED
        assert len(world.kafka.events[world.shard(A)]) == 1


@simulated
async def test_a_repeated_answer_waits_as_the_first_one_does() -> None:
    """A retry must not learn what a replica that takes over may not know."""
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        publish = node.gate.hold("publish")
        first = world.send(A, REGISTER, key="k")
        await publish.reached.wait()
        again = world.send(A, REGISTER, key="k")
        await asyncio.sleep(2)
        assert world.replies(first) + world.replies(again) == []
        publish.released.set()
        assert not (await world.answer(first)).replayed
        assert (await world.answer(again)).replayed


@simulated
async def test_what_left_no_event_is_answered_at_once() -> None:
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        publish = node.gate.hold("publish")
        world.send(A, REGISTER)
        await publish.reached.wait()
        late = world.send(A, credit(1), deadline=START_MICROS)
        other = world.send(A, credit(1), deadline=START_MICROS)
        assert (await world.answer(other)).outcome is Outcome.LATE
        assert (await world.answer(late)).outcome is Outcome.LATE
        node.kill()
        await node.end()


@simulated
async def test_shards_are_handed_back_with_all_answers_given() -> None:
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        publish = node.gate.hold("publish")
        asked = world.send(A, REGISTER)
        await publish.reached.wait()
        node.worker.stop()
        await asyncio.sleep(1)
        publish.released.set()
        assert await node.end() is None
    assert len(world.replies(asked)) == 1
