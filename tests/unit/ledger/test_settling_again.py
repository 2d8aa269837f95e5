"""What is decided once and what again, and when receipts are read before."""

import asyncio
from typing import NamedTuple

import pytest

from events.replies import Outcome
from services.ledger import settling
from services.ledger.batch import Batch
from services.ledger.decisions import Decisions
from tests.fakes.asking import REGISTER, credit
from tests.fakes.simulation import simulated, until
from tests.fakes.world import World

A = "cus_a"


class Deciding(NamedTuple):
    """One call: whether receipts were read before, and whether on a batch that was not true yet."""

    receipts: bool
    ahead: bool


ONCE, LOOKED_UP, AHEAD = Deciding(False, False), Deciding(True, False), Deciding(False, True)


@pytest.fixture(autouse=True)
def decided(monkeypatch: pytest.MonkeyPatch) -> list[Deciding]:
    """Every command is a batch of its own; repeats are likely for two commands."""
    monkeypatch.setattr(settling, "CAREFUL_COMMANDS", 2)
    monkeypatch.setattr(settling, "BATCH_COMMANDS_MAX", 1)
    calls: list[Deciding] = []
    decide = Decisions.decide

    async def watched(self: Decisions, read, owned, now, receipts, on=None) -> Batch:  # type: ignore[no-untyped-def]
        calls.append(Deciding(receipts, on is not None))
        return await decide(self, read, owned, now, receipts, on)

    monkeypatch.setattr(Decisions, "decide", watched)
    return calls


@simulated
async def test_receipts_are_read_before_deciding_for_a_while_after_a_start_and_after_a_repeat(
    decided: list[Deciding],
) -> None:
    world = World()
    async with world.node():
        for ask in (REGISTER, credit(1), credit(2), credit(3)):
            await world.ask(A, ask, key=f"{ask}")
        assert decided == [LOOKED_UP, LOOKED_UP, ONCE, ONCE]
        decided.clear()
        assert (await world.ask(A, credit(3), key=f"{credit(3)}")).replayed
        assert decided == [ONCE, LOOKED_UP]  # the commit met the receipt
        for _ in range(2):
            await world.ask(A, credit(4))
        assert decided == [ONCE, LOOKED_UP, LOOKED_UP, ONCE]


@simulated
async def test_receipts_are_read_before_deciding_what_may_have_been_decided(decided: list[Deciding]) -> None:
    """A caller's retry, what is read late, and what is put aside."""
    world = World()
    async with world.node() as node:
        for _ in range(3):
            await world.ask(A, REGISTER)
        decided.clear()
        await world.ask(A, credit(5), attempt=1)
        await world.ask(A, credit(5), deadline=node.clock.micros() - 1)
        world.send_bytes(0, b"{")
        await until(lambda: len(world.kafka.dead_letters) == 1)
        await world.ask(A, credit(5))
    assert decided == [LOOKED_UP, LOOKED_UP, LOOKED_UP, ONCE]


@pytest.mark.parametrize(
    ("deadline", "waited", "then"),
    [
        pytest.param(None, 0.4, [], id="no deadline"),
        pytest.param(9.0, 0.4, [], id="its deadline is far away"),
        pytest.param(0.02, 0.05, [], id="its deadline has just passed: it was in time"),
        pytest.param(0.2, 0.4, [LOOKED_UP], id="its deadline has long passed"),
    ],
)
@simulated
async def test_what_was_decided_ahead_is_decided_again_only_if_it_is_late_by_now(
    deadline: float | None, waited: float, then: list[Deciding], decided: list[Deciding]
) -> None:
    world = World()
    async with world.node() as node:
        for _ in range(3):
            await world.ask(A, REGISTER)
        decided.clear()
        commit = node.gate.hold("commit")
        first = world.send(A, credit(5))
        limit = None if deadline is None else node.clock.micros() + round(deadline * 1_000_000)
        second = world.send(A, credit(7), deadline=limit)
        await commit.reached.wait()
        await until(lambda: AHEAD in decided)
        await asyncio.sleep(waited)
        commit.released.set()
        assert (await world.answer(first)).balance_after == 5
        outcome = (await world.answer(second)).outcome
    assert outcome is (Outcome.LATE if then else Outcome.APPLIED)
    assert decided == [ONCE, AHEAD, *then]


@simulated
async def test_what_may_be_known_is_not_decided_ahead(decided: list[Deciding]) -> None:
    world = World()
    async with world.node() as node:
        for _ in range(3):
            await world.ask(A, REGISTER)
        decided.clear()
        commit = node.gate.hold("commit")
        first = world.send(A, credit(5))
        await commit.reached.wait()
        again = world.send(A, credit(5), attempt=1)
        await asyncio.sleep(1)
        assert decided == [ONCE]
        commit.released.set()
        await world.answer(first)
        assert (await world.answer(again)).replayed
    assert decided == [ONCE, LOOKED_UP]
