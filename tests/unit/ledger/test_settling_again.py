"""What is decided once and what again, and when receipts are read before."""

import asyncio
from typing import NamedTuple

import pytest

from events.replies import Outcome
from events.requests import RefundToWallet
from services.ledger.batches import settling
from services.ledger.batches.batch import Batch
from services.ledger.batches.decisions import Decisions
from services.ledger.failures import KnownKey
from tests.fakes.asking import REGISTER, credit, stream_of
from tests.fakes.simulation import sim_loop, simulated, until
from tests.fakes.store import SessionLost
from tests.fakes.world import World
from tests.unit.ledger.telling import purchase

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


async def trust(world: World, decided: list[Deciding]) -> None:
    """A customer, and so many commands that receipts are not read before any more."""
    for _ in range(3):
        await world.ask(A, REGISTER)
    decided.clear()


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


REFUND = RefundToWallet(payment_id="pay_1", amount=30)


@simulated
async def test_a_repeat_that_cannot_be_decided_gets_the_answer_of_its_key(decided: list[Deciding]) -> None:
    """Decided as new it meets what it made itself, and leaves nothing at which the commit could see the repeat."""
    world = World()
    async with world.node():
        await world.ask(A, purchase())
        first = await world.ask(A, REFUND, key="k")
        await trust(world, decided)
        again = await world.ask(A, REFUND, key="k")
        assert again.replayed
        assert (again.outcome, again.object_id) == (Outcome.APPLIED, first.object_id)
        assert decided == [ONCE, LOOKED_UP]
        assert not world.kafka.dead_letters


@simulated
async def test_what_cannot_be_decided_ahead_is_decided_after_the_commit(decided: list[Deciding]) -> None:
    """Its receipt may be in the batch that is being committed."""
    world = World()
    async with world.node() as node:
        await world.ask(A, purchase())
        await trust(world, decided)
        commit = node.gate.hold("commit")
        first = world.send(A, REFUND, key="k")
        await commit.reached.wait()
        second = world.send(A, REFUND, key="k")
        await until(lambda: AHEAD in decided)
        commit.released.set()
        told = await world.answer(first)
        again = await world.answer(second)
        assert (again.replayed, again.object_id) == (True, told.object_id)
        assert not world.kafka.dead_letters
    assert decided == [ONCE, AHEAD, ONCE, LOOKED_UP]


@simulated
async def test_receipts_are_read_before_deciding_what_may_have_been_decided(decided: list[Deciding]) -> None:
    """A caller's retry, what is read late, and what is put aside."""
    world = World()
    async with world.node() as node:
        await trust(world, decided)
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
        await trust(world, decided)
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
        await trust(world, decided)
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


@simulated
async def test_a_batch_that_cannot_be_stored_is_halved_and_each_half_doubted_by_itself(
    decided: list[Deciding], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(shards=1)
    async with world.node() as node:
        for _ in range(3):
            await world.ask(A, REGISTER)
        monkeypatch.setattr(settling, "BATCH_COMMANDS_MAX", 2)
        decided.clear()
        world.database.refused.add(stream_of("cus_b"))
        fetch = node.gate.hold("fetch")
        await fetch.reached.wait()
        asked = world.send(A, credit(5), attempt=1), world.send("cus_b", REGISTER)
        fetch.released.set()
        codes = [(await world.answer(one)).code for one in asked]
    assert codes == ["", "UNSTORABLE"]
    assert decided == [
        LOOKED_UP,
        LOOKED_UP,
        ONCE,
        ONCE,
    ]  # both, the retry, the other, what it is put aside as


@pytest.mark.parametrize(
    "before", [0, 3], ids=["receipts were read", "receipts were read at the second attempt"]
)
@simulated
async def test_a_key_that_is_known_and_has_no_receipt_ends_the_life(before: int) -> None:
    """A defect: to go on would be to meet it for ever."""
    world = World()
    async with world.node() as node:
        for _ in range(before):
            await world.ask(A, REGISTER)
        node.gate.fail("commit", "before", *[KnownKey()] * (2 if before else 1))
        asked = world.send(A, credit(5))
        assert isinstance(await node.end(), KnownKey)
        assert world.replies(asked) == []


@simulated
async def test_a_life_that_ends_says_why_although_a_commit_is_under_way() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        commit = node.gate.hold("commit")
        asked = world.send(A, credit(5))
        await commit.reached.wait()
        node.gate.fail("fetch", "before", SessionLost("cut"))
        assert isinstance(await node.end(), SessionLost)
        assert sim_loop().tasks_of(node) == []
        assert world.replies(asked) == []
