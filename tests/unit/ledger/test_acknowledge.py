"""`acknowledge = store+topic`: no answer about an event before the topic has it."""

import asyncio

import pytest
from msgspec.structs import replace

from events.codec import decode_command, encode_command
from events.replies import Outcome
from events.topics import EVENTS
from services.ledger.relay.relay import CALM_SECONDS
from tests.fakes.asking import REGISTER, command, correlation, credit, debit
from tests.fakes.broker import PublishFailed
from tests.fakes.simulation import START_MICROS, simulated, until
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


@simulated
async def test_an_answer_that_waits_for_the_topic_to_be_scanned_is_given_before_the_shards_are() -> None:
    """After a failure nothing is being sent that the hand-over could wait for."""
    world = World()
    async with world.node(acknowledge_topic=True) as node:
        node.gate.fail("publish", "after", PublishFailed("away"))
        renew, leave = node.gate.hold("renew_publisher"), node.gate.hold("leave")
        asked = world.send(A, REGISTER)
        await renew.reached.wait()
        node.worker.stop()
        await leave.reached.wait()
        leave.released.set()
        await asyncio.sleep(0.1)
        renew.released.set()
        assert await node.end() is None
    assert len(world.replies(asked)) == 1


@pytest.mark.parametrize(
    "acknowledge_topic", [True, False], ids=["all wait for the topic", "the asker waits"]
)
@simulated
async def test_whoever_waits_for_the_topic_does_not_wait_for_company(acknowledge_topic: bool) -> None:
    """The relay is calm where nobody waits for it."""
    world = World()
    shard = world.shard(A)
    async with world.node(acknowledge_topic=acknowledge_topic):
        await world.ask(A, REGISTER)
        began = asyncio.get_running_loop().time()
        for count in range(2, 12):
            asked, _ = decode_command(command(count, A, credit(1)))
            asked = replace(asked, awaited=not acknowledge_topic)
            world.send_bytes(shard, encode_command(asked), correlation(count))
            await until(lambda: len(world.topic(shard)) == count)  # noqa: B023
        assert asyncio.get_running_loop().time() - began < 10 * CALM_SECONDS


@simulated
async def test_a_shard_that_cannot_be_published_keeps_no_other_answer() -> None:
    world = World()
    other = next(name for n in range(99) if world.shard(name := f"cus_{n}") != world.shard(A))
    async with world.node(acknowledge_topic=True):
        for name in (A, other):
            await world.ask(name, REGISTER)
        world.kafka.leaderless = {(EVENTS.name, world.shard(A))}
        began = asyncio.get_running_loop().time()
        mute, told = world.send(A, credit(1)), world.send(other, credit(1))
        assert (await world.answer(told)).outcome is Outcome.APPLIED
        assert asyncio.get_running_loop().time() - began < 10
        assert world.replies(mute) == []
        world.kafka.leaderless = set()
        assert (await world.answer(mute)).outcome is Outcome.APPLIED
