"""Batches one behind the other: the next is decided on one that is not true yet, and again where that came otherwise."""

import asyncio

import pytest

from events.replies import Outcome, Reply
from services.ledger.batches import settling
from services.ledger.batches.batch import Batch
from services.ledger.batches.decisions import Decisions
from services.ledger.failures import Unstorable
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.simulation import simulated, until
from tests.fakes.world import Node, World

A = "cus_a"
OTHER = "cus_other"


@pytest.fixture(autouse=True)
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every command is a batch of its own, and receipts are met at the commit; what was decided ahead."""
    monkeypatch.setattr(settling, "CAREFUL_COMMANDS", 0)
    monkeypatch.setattr(settling, "BATCH_COMMANDS_MAX", 1)
    guesses: list[Batch] = []
    decide = Decisions.decide

    async def watched(self: Decisions, read, owned, now, receipts, on=None) -> Batch:  # type: ignore[no-untyped-def]
        batch = await decide(self, read, owned, now, receipts, on)
        if on is not None:
            guesses.append(batch)
        return batch

    monkeypatch.setattr(Decisions, "decide", watched)
    return guesses


async def while_one_commits(world: World, node: Node, first: str, second: str, ahead: list[Batch]) -> None:
    """Both commands are sent; the second is decided while the first is on its way to the store."""
    commit = node.gate.hold("commit")
    await commit.reached.wait()
    await until(lambda: len(ahead) == 1)
    assert world.replies(first) == world.replies(second) == []
    commit.released.set()


async def both(world: World, node: Node, first: str, second: str, ahead: list[Batch]) -> list[Reply]:
    await while_one_commits(world, node, first, second, ahead)
    return [await world.answer(first), await world.answer(second)]


@simulated
async def test_what_commits_is_built_on_and_nothing_is_said_before(ahead: list[Batch]) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        asked = world.send(A, credit(5)), world.send(A, debit(3))
        replies = await both(world, node, *asked, ahead)
    assert [reply.balance_after for reply in replies] == [5, 2]
    assert len(world.stored(A)) == 3


@simulated
async def test_what_is_not_in_memory_is_read_meanwhile(ahead: list[Batch]) -> None:
    world = World()
    async with world.node():
        await world.ask(OTHER, REGISTER)
        await world.ask(OTHER, credit(9))
    ahead.clear()
    async with world.node() as node:
        asked = world.send(A, REGISTER), world.send(OTHER, debit(4))
        replies = await both(world, node, *asked, ahead)
    assert (replies[0].outcome, replies[1].balance_after) == (Outcome.APPLIED, 5)


@simulated
async def test_a_guess_is_dropped_where_the_batch_before_was_a_known_key(ahead: list[Batch]) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5), key="k")
        asked = world.send(A, credit(5), key="k"), world.send(A, debit(8))
        replies = await both(world, node, *asked, ahead)
    assert replies[0].replayed
    assert (replies[1].outcome, replies[1].balance_before) == (Outcome.REFUSED, 5)
    assert [batch.events[0].type for batch in ahead] == ["wallet.debited.v1"]  # the guess had been wrong
    assert [event.type for event in world.stored(A)][2:] == ["wallet.debit_refused.v1"]


@simulated
async def test_a_guess_is_dropped_where_the_batch_before_was_not_storable(ahead: list[Batch]) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        node.gate.fail("commit", "before", Unstorable("DataError"))
        asked = world.send(A, credit(5)), world.send(A, debit(5))
        replies = await both(world, node, *asked, ahead)
    assert [reply.code for reply in replies] == ["UNSTORABLE", "INSUFFICIENT_WALLET_FUNDS"]
    assert len(world.kafka.dead_letters) == 1


@simulated
async def test_a_guess_dies_with_the_life_whose_commit_failed(ahead: list[Batch]) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        node.gate.fail("commit", "before", ConnectionError("gone"))
        asked = world.send(A, credit(5)), world.send(A, debit(5))
        await while_one_commits(world, node, *asked, ahead)
        assert isinstance(await node.end(), ConnectionError)
        assert world.replies(asked[0]) == world.replies(asked[1]) == []
        assert len(world.stored(A)) == 1
        node.start()
        assert [(await world.answer(one)).balance_after for one in asked] == [5, 0]


@simulated
async def test_a_guess_that_waited_long_is_checked_against_its_deadline_again(ahead: list[Batch]) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        commit = node.gate.hold("commit")
        first = world.send(A, credit(5))
        second = world.send(A, debit(5), deadline=node.clock.micros() + 300_000)
        await commit.reached.wait()
        await until(lambda: len(ahead) == 1)
        await asyncio.sleep(0.4)
        commit.released.set()
        assert (await world.answer(first)).balance_after == 5
        assert (await world.answer(second)).outcome is Outcome.LATE
