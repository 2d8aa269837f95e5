"""Snapshots in a worker's life: of committed state only, a few beside a heartbeat, and never needed."""

import asyncio

import pytest

from events.codec import decode_envelope, digest
from events.replies import Outcome
from services.ledger.batches import decisions, folding, snapshots
from services.ledger.store.postgres import TRANSACTION_SECONDS
from tests.factories import customer_fact, fold
from tests.fakes.asking import REGISTER, credit, debit, stream_of
from tests.fakes.simulation import simulated, until
from tests.fakes.store import SessionLost
from tests.fakes.world import World

A = "cus_a"
STREAM = stream_of(A)
EVERY = 10


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (decisions, folding):
        monkeypatch.setattr(module, "SNAPSHOT_EVERY", EVERY)


async def grown(world: World, events: int) -> None:
    await world.ask(A, REGISTER)
    for _ in range(events - 1):
        await world.ask(A, credit(1))


def true(world: World) -> bool:
    """The snapshot says what the committed events up to it say."""
    found = world.database.snapshots[STREAM]
    rows = [world.database.streams[STREAM][version].value for version in range(1, found.version + 1)]
    envelopes = [decode_envelope(value) for value in rows]
    state = fold((customer_fact(envelope), envelope.time) for envelope in envelopes)
    return (snapshots.read(found), found.head) == (state, digest(rows[-1]))


def reading(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each look at histories brings."""
    counts: list[int] = []
    taken = folding.Folding.end_run

    def counted(self: folding.Folding, whole: bool) -> None:
        counts.append(sum(self._tails.values()))
        taken(self, whole)

    monkeypatch.setattr(folding.Folding, "end_run", counted)
    return counts


@simulated
async def test_a_long_stream_is_read_from_its_snapshot_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.node():
        await grown(world, 3 * EVERY + 2)
        await until(lambda: world.database.snapshots.get(STREAM) is not None)
        await asyncio.sleep(2)
    assert world.database.snapshots[STREAM].version == 3 * EVERY
    assert true(world)
    counts = reading(world, monkeypatch)
    async with world.node():
        assert (await world.ask(A, debit(1))).balance_after == 3 * EVERY
    assert counts == [2]


@simulated
async def test_a_ledger_without_snapshots_goes_on_and_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with world.node():
        await grown(world, 2 * EVERY + 5)
    world.database.snapshots.clear()
    counts = reading(world, monkeypatch)
    async with world.node():
        assert (await world.ask(A, debit(1))).balance_after == 2 * EVERY + 3
        await until(lambda: STREAM in world.database.snapshots)
    assert counts == [2 * EVERY + 5]
    assert true(world)


def test_a_statement_that_is_folded_ends_in_time_on_a_slow_host() -> None:
    """Else it never does: no snapshot is kept of what was cut off, and the next life meets the same."""
    event_seconds = 0.00014  # of payments, measured on a busy machine with 2 cores
    assert decisions.RUN_EVENTS_MAX * event_seconds < TRANSACTION_SECONDS / 2


@simulated
async def test_nothing_is_kept_of_what_may_not_be_committed() -> None:
    world = World()
    async with world.node() as node:
        await grown(world, EVERY - 1)
        commit = node.gate.hold("commit")
        asked = world.send(A, credit(1))
        await commit.reached.wait()
        await asyncio.sleep(3)
        assert world.database.snapshots == {}
        node.gate.fail("commit", "before", SessionLost("commit"))
        commit.released.set()
        assert isinstance(await node.end(), SessionLost)
        assert world.database.snapshots == {}
    async with world.node():
        assert (await world.answer(asked)).balance_after == EVERY - 1


@simulated
async def test_a_worker_that_lost_its_session_keeps_nothing() -> None:
    """And would do no harm: what it knows was committed, and stays so."""
    world = World()
    async with world.node() as owner:
        kept = owner.gate.hold("keep")
        await grown(world, EVERY)
        await kept.reached.wait()
        async with world.node() as heir:
            world.database.end(owner.store)
            await heir.owning(4)
            await world.ask(A, credit(1))
            await until(lambda: STREAM in world.database.snapshots)
            theirs = world.database.snapshots[STREAM]
            kept.released.set()
            assert isinstance(await owner.end(), SessionLost)
    assert world.database.snapshots[STREAM] == theirs
    assert true(world)


@simulated
async def test_a_beat_keeps_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SNAPSHOT_EVERY", 1)
    monkeypatch.setattr(decisions, "KEPT_AT_ONCE_MAX", 3)
    monkeypatch.setattr(decisions, "DUE_MAX", 8)
    world = World()
    sizes: list[int] = []
    async with world.node() as node:
        keep = node.store.keep

        async def counted(due: list[snapshots.Snapshot]) -> None:
            sizes.append(len(due))
            await keep(due)

        monkeypatch.setattr(node.store, "keep", counted)
        asked = [world.send(f"cus_{number}", REGISTER) for number in range(20)]
        for one in asked:
            await world.answer(one)
        await until(lambda: len(world.database.snapshots) == 8)
        await asyncio.sleep(3)
    assert sizes == [3, 3, 2]


@simulated
async def test_a_history_that_cannot_be_read_fails_the_commands_of_its_customer_and_of_no_other() -> None:
    """As after an update was taken back: an event is of a type that this worker does not know."""
    world = World()
    async with world.node():
        for name in (A, "cus_b"):
            await world.ask(name, REGISTER)
            await world.ask(name, credit(1), key="known")
    stream = world.database.streams[STREAM]
    stream[2] = stream[2]._replace(
        value=stream[2].value.replace(b"wallet.credited.v1", b"wallet.credited.v9")
    )
    async with world.node():
        failed, other = [await world.ask(name, credit(2)) for name in (A, "cus_b")]
    assert (failed.outcome, failed.code) == (Outcome.FAILED, "INTERNAL_SERVER_ERROR")
    assert (other.outcome, other.balance_after) == (Outcome.APPLIED, 3)
    assert len(world.kafka.dead_letters) == 1
