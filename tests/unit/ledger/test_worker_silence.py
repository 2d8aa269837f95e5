"""Commits whose outcome is unknown, leases that ran out, fences that say no: a worker says nothing."""

from events.replies import Outcome
from services.ledger.failures import OwnershipLost
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.simulation import simulated
from tests.fakes.store import MemoryStore, SessionLost
from tests.fakes.world import World

A = "cus_a"


@simulated
async def test_a_commit_that_raises_after_it_committed_answers_nothing() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        node.gate.fail("commit", "after", SessionLost("cut"))
        lost = world.send(A, credit(5), key="k")
        assert isinstance(await node.end(), SessionLost)
        node.start()
        again = await world.ask(A, credit(5), key="k")
    assert (again.replayed, again.balance_after) == (True, 5)
    assert world.replies(lost) == []
    assert len(world.stored(A)) == 2
    assert len(world.topic(world.shard(A))) == 2


@simulated
async def test_a_commit_that_raises_before_it_committed_is_done_by_the_next_owner() -> None:
    world = World()
    async with world.node() as node:
        node.gate.fail("commit", "before", SessionLost("cut"))
        asked = world.send(A, REGISTER)
        assert isinstance(await node.end(), SessionLost)
        assert world.replies(asked) == []
        node.start()
        assert not (await world.answer(asked)).replayed
    assert len(world.stored()) == 1


@simulated
async def test_a_worker_without_its_session_is_silent() -> None:
    """Its lease ran out in the middle of a commit; another one has taken the shards."""
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        commit = node.gate.hold("commit")
        asked = world.send(A, debit(1))
        await commit.reached.wait()
        async with world.node():
            reply = await world.answer(asked)
            assert (reply.outcome, len(world.replies(asked))) == (Outcome.REFUSED, 1)
            commit.released.set()
            assert isinstance(await node.end(), SessionLost)
            assert len(world.replies(asked)) == 1
    assert len(world.stored(A)) == 2


@simulated
async def test_a_worker_that_lost_its_shard_but_not_its_session_is_silent() -> None:
    """The lock is gone and nobody told it (a pool in between): the fence says so."""
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        world.database.locks.clear()
        commit = node.gate.hold("commit")
        asked = world.send(A, debit(1))
        await commit.reached.wait()
        session = MemoryStore(world.database)
        await session.open()
        await session.claim(range(4), 4)
        commit.released.set()
        assert isinstance(await node.end(), OwnershipLost)
        assert world.replies(asked) == []
        await session.close()
        node.start()
        assert (await world.answer(asked)).outcome is Outcome.REFUSED
