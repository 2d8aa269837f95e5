"""Records that cannot be put aside: their shards wait before them, the others do not."""

import asyncio

import pytest
from structlog.typing import EventDict

from events.replies import Outcome
from events.topics import DEAD_LETTERS
from services.ledger.batches.settling import LETTERS_SECONDS
from services.ledger.ownership import HELD_SECONDS
from tests.fakes.asking import REGISTER, credit, stream_of
from tests.fakes.simulation import simulated, until
from tests.fakes.world import Node, World

BAD = b"{"


class Letters:
    """The way to `ledger.dead-letters`, which takes nothing until it is `mended`."""

    def __init__(self, world: World, node: Node, how: str) -> None:
        self._kafka = world.kafka
        self._hold = node.gate.hold("dead_letter") if how == "hangs" else None
        if how == "fails":
            self._kafka.leaderless.add((DEAD_LETTERS.name, 0))
        self._coffin = node.coffin
        if how == "no key":
            self._coffin.keyless = "damaged"
        self.tries = 0
        node.gate.on_pass = self._passed

    def _passed(self, call: str, phase: str) -> None:
        self.tries += (call, phase) == ("dead_letter", "before")

    def mend(self) -> None:
        self._kafka.leaderless.clear()
        self._coffin.keyless = ""
        if self._hold is not None:
            self._hold.released.set()


@simulated
@pytest.mark.parametrize("how", ["hangs", "fails", "no key"])
async def test_a_record_that_cannot_be_put_aside_stops_its_own_shard_only(
    how: str, logs: list[EventDict]
) -> None:
    world = World()
    names = [world.customer_in(shard) for shard in range(4)]
    async with world.node() as node:
        for name in names:
            await world.ask(name, REGISTER)
        letters = Letters(world, node, how)
        before = world.send(names[0], credit(1))
        world.send_bytes(0, BAD)
        behind = world.send(names[0], credit(2))
        assert (await world.answer(before)).balance_after == 1
        world.send_bytes(1, BAD)
        loop, took = asyncio.get_running_loop(), []
        began = loop.time()
        for number in range(80):
            asked = loop.time()
            assert (await world.ask(names[2 + number % 2], credit(1))).outcome is Outcome.APPLIED
            took.append(loop.time() - asked)
            await asyncio.sleep(0.4)
        rounds = (loop.time() - began) / HELD_SECONDS
        assert max(took) < 2 * LETTERS_SECONDS
        assert sum(seconds > 0.2 for seconds in took) <= rounds + 1, "seldom, however many shards wait"
        assert letters.tries <= 2 * (rounds + 1)
        assert node.worker.held == {0, 1}
        assert world.replies(behind) == []
        assert [world.database.rows[shard].position for shard in (0, 1)] == [1, 0]
        letters.mend()
        await world.taken()
        assert (await world.answer(behind)).balance_after == 3
        await until(lambda: node.worker.held == set())
    assert len(world.stored(names[0])) == 3
    assert sorted(key for key, _ in world.kafka.dead_letters) == [
        b"0/2 INVALID_COMMAND",
        b"1/1 INVALID_COMMAND",
    ]
    assert {"shards": [0], "event": "dead_letters_not_kept", "action": "they wait before these records",
            "log_level": "error"} in logs  # fmt: skip
    unsealed = {"event": "dead_letters_not_sealed", "why": "damaged", "log_level": "error"}
    assert (unsealed in logs) == (how == "no key")


@simulated
async def test_one_that_cannot_be_stored_and_not_be_put_aside_either_stops_its_own_shard_only() -> None:
    world = World(shards=2)
    bad, good = world.customer_in(0), world.customer_in(1)
    world.database.refused.add(stream_of(bad))
    asked = [world.send(name, REGISTER) for name in (good, bad, good)]
    async with world.node() as node:
        letters = Letters(world, node, "fails")
        for one in (asked[0], asked[2]):
            await world.answer(one)
        assert world.replies(asked[1]) == []
        assert world.database.rows[0].position == -1
        letters.mend()
        assert (await world.answer(asked[1])).code == "UNSTORABLE"


@simulated
async def test_a_shard_that_waits_is_handed_over_and_read_from_the_same_record() -> None:
    world = World(shards=2)
    customer = world.customer_in(1)
    async with world.node() as a:
        await world.ask(customer, REGISTER)
        letters = Letters(world, a, "fails")
        world.send_bytes(1, BAD)
        behind = world.send(customer, credit(1))
        await until(lambda: a.worker.held == {1})
        async with world.node() as b:
            await until(lambda: b.worker.owned == {1})
            assert a.worker.held == set()
            assert world.database.rows[1].position == 0
            letters.mend()
            assert (await world.answer(behind)).balance_after == 1
            assert len(world.kafka.dead_letters) == 1


@simulated
async def test_a_worker_stops_though_a_record_cannot_be_put_aside() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(world.customer_in(0), REGISTER)
        Letters(world, node, "hangs")
        world.send_bytes(0, BAD)
        await until(lambda: node.worker.held == {0})
        node.worker.stop()
        assert await node.end() is None
