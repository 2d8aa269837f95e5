"""Erasing: the key goes first, then the fact is stored, whatever dies in between; and no key goes without one."""

import asyncio

import pytest
from structlog.typing import EventDict

from events.commands import CloseCustomer, EraseCustomer
from events.replies import Outcome
from events.topics import EVENTS
from services.ledger.batches.erasing import PUBLISHED_SECONDS
from services.ledger.ownership import HELD_SECONDS
from services.ledger.relay.relay import Relay
from tests.fakes.asking import REGISTER, credit, debit, stream_of
from tests.fakes.simulation import START_MICROS, simulated, until
from tests.fakes.store import SessionLost
from tests.fakes.world import Node, World

A = "cus_a"
OWNER = stream_of(A)
SHARDS = 4


def types(world: World) -> list[str]:
    return [event.type for event in world.stored(A)]


async def closed(world: World) -> None:
    await world.ask(A, REGISTER)
    await world.ask(A, CloseCustomer(reason="moved away"))


@simulated
async def test_the_key_is_destroyed_before_the_commit_and_no_second_one_is_made() -> None:
    world = World()
    async with world.node() as node:
        await closed(world)
        assert world.keys[OWNER]
        commit = node.gate.hold("commit")
        asked = world.send(A, EraseCustomer())
        await commit.reached.wait()
        assert world.keys[OWNER] == b""
        commit.released.set()
        assert (await world.answer(asked)).outcome is Outcome.APPLIED
        assert (await world.ask(A, REGISTER)).code == "CUSTOMER_CLOSED"
        assert (await world.ask(A, EraseCustomer())).code == "CUSTOMER_ERASED"
    assert world.keys[OWNER] == b""
    assert types(world)[2:4] == ["customer.erased.v1", "customer.command_refused.v1"]


@simulated
async def test_a_refused_erasure_destroys_nothing() -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        assert (await world.ask(A, EraseCustomer())).code == "CUSTOMER_NOT_CLOSED"
        assert (await world.ask("cus_nobody", EraseCustomer())).code == "NOT_FOUND"
    assert world.keys[OWNER]
    assert stream_of("cus_nobody") not in world.keys


@pytest.mark.parametrize("why", ["it is late", "too much is unpublished"])
@simulated
async def test_who_died_after_destroying_the_key_is_followed_even_where_others_are_declined(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else somebody would be unreadable in the events and readable everywhere else."""
    world = World()
    async with world.node() as first:
        await closed(world)
        commit = first.gate.hold("commit")
        asked = world.send(A, EraseCustomer(), deadline=START_MICROS + 2_000_000)
        await commit.reached.wait()
        first.kill()
        await first.end()
    if why == "it is late":
        await asyncio.sleep(60)
    else:
        monkeypatch.setattr(Relay, "available", lambda *_: False)
    async with world.node():
        assert (await world.answer(asked)).outcome is Outcome.APPLIED
    assert types(world)[-1] == "customer.erased.v1"


@simulated
async def test_an_owner_that_lost_its_shards_destroys_no_key_that_its_successor_keeps() -> None:
    """It took the closing in time, its successor did not: so it may erase only who is closed for good already."""
    world = World()
    async with world.node() as old:
        await world.ask(A, REGISTER)
        fetch = old.gate.hold("fetch", "after")
        await fetch.reached.wait()
        world.send(A, CloseCustomer(), deadline=START_MICROS + 3_000_000)
        asked = world.send(A, EraseCustomer())
        commit, key = old.gate.hold("commit"), old.gate.hold("destroy_keys")
        fetch.released.set()
        await until(lambda: commit.reached.is_set() or key.reached.is_set())
        async with world.node() as new:
            await new.owning(SHARDS)
            assert (await world.answer(asked)).code == "CUSTOMER_NOT_CLOSED"
            commit.released.set()
            key.released.set()
            assert isinstance(await old.end(), SessionLost)
    assert world.keys[OWNER]


@simulated
async def test_a_key_that_was_used_for_something_else_erases_nobody() -> None:
    """Keys are nearly always new, and receipts are read afterwards: not here."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5), key="k")
        await world.ask(A, debit(5))
        await world.ask(A, CloseCustomer())
        for _ in range(1_001):  # no longer careful
            await world.ask("cus_b", credit(1))
        assert (await world.ask(A, EraseCustomer(), key="k")).outcome is Outcome.KEY_REUSED
        assert world.keys[OWNER]


@simulated
async def test_no_erasure_before_the_closing_is_published_and_others_do_not_wait() -> None:
    """A store that fails over to an older copy gets back from the topic what its customers were told; no key comes back."""
    world = World()
    other = next(name for number in range(99) if world.shard(name := f"cus_{number}") != world.shard(A))
    async with world.node() as node:
        await world.ask(A, REGISTER)
        publish = node.gate.hold("publish")
        await world.ask(A, CloseCustomer())
        asked = world.send(A, EraseCustomer())
        for number in range(5):
            await asyncio.sleep(1)
            assert (await world.ask(other, REGISTER if not number else credit(1))).outcome is Outcome.APPLIED
            assert (world.keys[OWNER] != b"", types(world)[-1]) == (True, "customer.closed.v1")
        assert node.worker.held == {world.shard(A)}
        publish.released.set()
        assert (await world.answer(asked)).outcome is Outcome.APPLIED
        assert not node.task.done(), "it is still the same life"
    assert world.keys[OWNER] == b""


@simulated
async def test_no_erasure_while_the_key_table_is_away() -> None:
    world = World()
    async with world.node() as node:
        await closed(world)
        node.gate.fail("destroy_keys", "before", OSError("no key table"))
        asked = world.send(A, EraseCustomer())
        assert isinstance(await node.end(), OSError)
        assert types(world)[-1] == "customer.closed.v1"
        node.start()
        assert (await world.answer(asked)).outcome is Outcome.APPLIED


async def waiting_erasures(world: World, node: Node, shards: int) -> None:
    """In each of these shards a customer is closed and published, and to be erased behind what cannot be."""
    names = [world.customer_in(shard) for shard in range(shards)]
    for name in names:
        await world.ask(name, REGISTER)
        await world.ask(name, CloseCustomer())
    await world.taken()
    world.kafka.leaderless = {(EVENTS.name, shard) for shard in range(shards)}
    for shard, name in enumerate(names):
        await world.ask(next(n for k in range(999) if world.shard(n := f"cus_x{k}") == shard), REGISTER)
        world.send(name, EraseCustomer())
    await until(lambda: node.worker.held == set(range(shards)))


@simulated
async def test_an_erasure_that_waits_keeps_no_dead_letter_of_another_shard_back(
    logs: list[EventDict],
) -> None:
    world = World()
    other = world.customer_in(2)
    async with world.node() as node:
        await world.ask(other, REGISTER)
        await waiting_erasures(world, node, 1)
        for _ in range(3):
            world.send_bytes(2, b"{")
            assert (await world.ask(other, credit(1))).outcome is Outcome.APPLIED
            await asyncio.sleep(HELD_SECONDS)
        assert [key for key, _ in world.kafka.dead_letters] == [
            b"2/1 INVALID_COMMAND",
            b"2/3 INVALID_COMMAND",
            b"2/5 INVALID_COMMAND",
        ]
        world.kafka.leaderless = set()
        await world.taken()
    assert "dead_letters_not_kept" not in [entry["event"] for entry in logs]


@simulated
async def test_a_dead_letter_behind_an_erasure_is_kept_once() -> None:
    """Read together, they are no one batch: what is decided again would be put aside again."""
    world = World(shards=1)
    async with world.node() as node:
        await waiting_erasures(world, node, 1)
        world.send_bytes(0, b"{")
        await asyncio.sleep(3 * HELD_SECONDS)
        world.kafka.leaderless = set()
        await world.taken()
    assert len(world.kafka.dead_letters) == 1


@simulated
async def test_however_many_erasures_wait_the_other_shards_do_not() -> None:
    world = World(shards=8)
    other = world.customer_in(7)
    async with world.node() as node:
        await world.ask(other, REGISTER)
        await waiting_erasures(world, node, 6)
        loop, took = asyncio.get_running_loop(), []
        for _ in range(100):
            asked = loop.time()
            assert (await world.ask(other, credit(1))).outcome is Outcome.APPLIED
            took.append(loop.time() - asked)
            await asyncio.sleep(HELD_SECONDS / 25)
        assert max(took) < PUBLISHED_SECONDS / 4
        world.kafka.leaderless = set()
        await world.taken()
    assert sum(event.type == "customer.erased.v1" for event in world.stored()) == 6
