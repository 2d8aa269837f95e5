"""What the next owner of a shard makes of its topic: go on, fill it again, or leave it alone."""

import asyncio

import pytest
from structlog.typing import EventDict

from events.replies import Outcome
from events.topics import COMMANDS, EVENTS
from services.ledger.failures import TopicDiverged
from services.ledger.ownership import REFUSED_SECONDS
from services.ledger.relay import relay
from tests.fakes.asking import REGISTER, credit
from tests.fakes.simulation import simulated, until
from tests.fakes.world import World
from tests.unit.ledger.publishing import FAILURE, A, spoken


@simulated
async def test_what_the_last_owner_did_not_publish_is_published_by_the_next() -> None:
    world = World()
    async with world.node() as node:
        node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await world.ask(A, credit(1))
        node.kill()
        await node.end()
    async with world.node():
        await world.taken()
    assert world.sequences(world.shard(A)) == [1, 2]


@simulated
async def test_what_was_published_and_not_noted_is_found() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.taken()
        node.kill()
        await node.end()
    assert world.database.rows[world.shard(A)].published_sequence == 0
    async with world.node():
        await world.ask(A, credit(1))
        await world.taken()
    assert world.sequences(world.shard(A)) == [1, 2]


@simulated
@pytest.mark.parametrize("kept", [0, 1, 3])
async def test_a_topic_that_lost_its_tail_is_filled_again(kept: int, logs: list[EventDict]) -> None:
    world = World()
    shard = await spoken(world, 5)
    del world.kafka.events[shard][kept:]
    async with world.node():
        await world.ask(A, credit(9))
        await world.taken()
    assert world.sequences(shard) == [1, 2, 3, 4, 5, 6]
    alarms = [entry["shards"] for entry in logs if entry["event"] == "topic_lost_events"]
    assert alarms == [[shard]]


@simulated
async def test_a_topic_that_was_made_again_with_repeats_is_understood() -> None:
    """Offsets moved: the record at the noted offset is another one of ours."""
    world = World()
    shard = await spoken(world, 4)
    records = world.kafka.events[shard]
    world.kafka.events[shard] = [records[0], records[0], records[1], records[0], records[2]]
    async with world.node():
        await world.taken()
    assert world.sequences(shard) == [1, 1, 2, 1, 3, 4]


async def refused_because(world: World, shard: int, logs: list[EventDict]) -> None:
    """One worker takes every other shard, leaves this one and its lock alone, and goes on without it."""
    before = list(world.kafka.events[shard])
    async with world.node() as node:
        await until(lambda: len(node.worker.owned) == 3)
        assert set(node.worker.refused) == {shard}
        assert shard not in world.database.locks
        asked = world.send(A, credit(5))
        other = next(name for n in range(99) if world.shard(name := f"cus_{n}") != shard)
        assert (await world.ask(other, REGISTER)).outcome is Outcome.APPLIED
        await asyncio.sleep(3)
        assert world.replies(asked) == []
    assert world.kafka.events[shard] == before
    assert "topic_diverged" in [entry["event"] for entry in logs]


@simulated
async def test_a_topic_ahead_of_the_store_is_not_owned(logs: list[EventDict]) -> None:
    """The store was restored from a backup."""
    world = World()
    shard = await spoken(world, 3)
    backup = world.database.rows[shard], list(world.database.events[shard])
    async with world.node():
        await world.ask(A, credit(5))
        await world.taken()
    world.database.rows[shard], world.database.events[shard] = backup
    await refused_because(world, shard, logs)


@simulated
async def test_a_long_topic_ahead_of_the_store_keeps_nobody_waiting() -> None:
    world = World()
    shard = await spoken(world, 3)
    backup = world.database.backup()
    async with world.node():
        await world.ask(A, credit(5))
        await world.taken()
    world.kafka.events[shard] += world.kafka.events[shard][-1:] * 10_000
    world.database.restore(backup)
    read = 0

    def count(call: str, phase: str) -> None:
        nonlocal read
        read += (call, phase) == ("events_from", "after")

    async with world.node() as node:
        node.gate.on_pass = count
        await until(lambda: len(node.worker.owned) == 3)
        await asyncio.sleep(3 * REFUSED_SECONDS)
        assert set(node.worker.refused) == {shard}
    assert 4 <= read <= 8


@simulated
@pytest.mark.parametrize("place", [0, 2])
async def test_other_bytes_at_a_sequence_are_not_owned(place: int, logs: list[EventDict]) -> None:
    world = World()
    shard = await spoken(world, 3)
    key, value = world.kafka.events[shard][place]
    world.kafka.events[shard][place] = (key, value.replace(b"biz_1", b"biz_2"))
    world.kafka.events[shard].insert(0, world.kafka.events[shard][0])
    await refused_because(world, shard, logs)


@simulated
async def test_a_topic_with_a_gap_is_not_owned(logs: list[EventDict]) -> None:
    """Nothing that is appended can heal it: readers stop there."""
    world = World()
    shard = await spoken(world, 4)
    del world.kafka.events[shard][2]
    await refused_because(world, shard, logs)


@simulated
@pytest.mark.parametrize("foreign", [b"", b"{}", b"\xff", b"null"])
async def test_what_is_no_event_at_all_is_not_ours(foreign: bytes, logs: list[EventDict]) -> None:
    world = World()
    shard = await spoken(world, 3)
    world.kafka.events[shard].append((b"", foreign))
    await refused_because(world, shard, logs)


DAMAGES = pytest.mark.parametrize("value", [b"{", b"{}", None], ids=["no JSON", "no event", "missing"])


def told_damaged(logs: list[EventDict], shard: int, sequence: int) -> None:
    told = {(one["shard"], one["why"]) for one in logs if one["event"] == "stored_event_damaged"}
    assert told == {(shard, f"the store's event at sequence {sequence} is missing or cannot be read")}


@simulated
@DAMAGES
async def test_a_stored_event_that_is_damaged_stops_its_own_shard_only(
    value: bytes | None, logs: list[EventDict]
) -> None:
    """The last one that is known to be in the topic: each take-over compares it."""
    world = World()
    shard = await spoken(world, 3)
    world.database.damage(shard, 3, value)
    await refused_because(world, shard, logs)
    told_damaged(logs, shard, 3)


@simulated
@DAMAGES
@pytest.mark.parametrize("sequence", [3, 4])
async def test_a_damaged_event_is_not_published_and_stops_its_own_shard_only(
    sequence: int, value: bytes | None, logs: list[EventDict]
) -> None:
    world = World()
    shard = await spoken(world, 4)
    del world.kafka.events[shard][2:]
    world.database.damage(shard, sequence, value)
    await refused_because(world, shard, logs)
    told_damaged(logs, shard, sequence)


@simulated
async def test_an_event_that_is_damaged_before_it_is_published_ends_the_life_that_meets_it(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one refuses its shard, and publishes what the others have."""
    monkeypatch.setattr(relay, "QUEUED_BYTES_MAX", 0)
    world = World()
    shard = await spoken(world, 3)
    async with world.node() as node:
        await node.owning(4)
        publish = node.gate.hold("publish")
        node.gate.fail("publish", "before", FAILURE)
        await world.ask(A, credit(5))
        await publish.reached.wait()
        world.database.damage(shard, 4, b"{")
        publish.released.set()
        assert isinstance(await node.end(), TopicDiverged)
    await refused_because(world, shard, logs)
    told_damaged(logs, shard, 4)


@simulated
async def test_a_refused_shard_is_taken_once_the_topic_fits_again() -> None:
    world = World()
    shard = await spoken(world, 3)
    world.kafka.events[shard].append((b"", b"?"))
    async with world.node() as node:
        await until(lambda: len(node.worker.owned) == 3)
        asked = world.send(A, credit(5))
        world.kafka.events[shard].pop()
        assert (await world.answer(asked)).balance_after == 7


@simulated
async def test_a_divergence_found_after_a_failure_ends_the_worker_and_nothing_more_is_published() -> None:
    """Someone else wrote to the topic while we owned the shard."""
    world = World()
    shard = await spoken(world, 3)
    async with world.node() as node:
        await until(lambda: len(node.worker.owned) == 4)
        world.kafka.events[shard].append((b"", b"?"))
        node.gate.fail("publish", "before", FAILURE)
        asked = world.send(A, credit(5))
        assert isinstance(await node.end(), TopicDiverged)
        assert (await world.answer(asked)).balance_after == 7
    assert world.kafka.events[shard][3:] == [(b"", b"?")]


@simulated
@pytest.mark.parametrize("topic", [COMMANDS.name, EVENTS.name])
async def test_a_shard_without_a_leader_is_not_owned_and_the_others_are(
    topic: str, logs: list[EventDict]
) -> None:
    world = World()
    shard = await spoken(world, 3)
    world.kafka.leaderless = {(topic, shard)}
    async with world.node() as node:
        await until(lambda: len(node.worker.owned) == 3)
        assert set(node.worker.refused) == {shard}
        other = next(name for n in range(99) if world.shard(name := f"cus_{n}") != shard)
        assert (await world.ask(other, REGISTER)).outcome is Outcome.APPLIED
        world.kafka.leaderless = set()
        assert (await world.ask(A, credit(5))).balance_after == 7
    assert "topic_leaderless" in [entry["event"] for entry in logs]
