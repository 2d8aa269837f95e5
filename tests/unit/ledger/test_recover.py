"""A store that is behind its topic takes the tail back, byte for byte, and nothing else ever."""

import pytest

from events.codec import digest
from events.replies import Outcome
from services.console.recovery import _tell
from services.ledger.recovery import tail as recover_tail
from services.ledger.recovery.report import left_to_do
from tests.fakes.asking import REGISTER, credit, debit
from tests.fakes.gate import Gate, Killed
from tests.fakes.restoring import recover
from tests.fakes.simulation import simulated, until
from tests.fakes.store import MemoryDatabase
from tests.fakes.world import World
from tests.unit.ledger.publishing import A


async def spoken(world: World, *, before: int, after: int) -> MemoryDatabase:
    """Credits before a backup and after it; the world goes on with the backup. Returns the store that was lost."""
    async with world.node():
        await world.ask(A, REGISTER, key="r")
        for n in range(before):
            await world.ask(A, credit(1), key=f"b{n}")
        await world.taken()
    kept = world.database.backup()
    async with world.node():
        for n in range(after):
            await world.ask(A, credit(1), key=f"a{n}")
        await world.ask(A, debit(10**6), key="refused")
        await world.ask(A, credit(2))
        await world.taken()
    lost, world.database = world.database, kept
    world.rereading = True
    return lost


def same(lost: MemoryDatabase, found: MemoryDatabase) -> None:
    assert found.events == lost.events
    assert found.receipts == lost.receipts
    assert found.attempts == lost.attempts
    for shard, row in lost.rows.items():
        now = found.rows[shard]
        assert (now.position, now.position_command_id) == (row.position, row.position_command_id)
        assert (now.sequence, now.head, now.last_time) == (row.sequence, row.head, row.last_time)


@simulated
async def test_events_receipts_and_positions_come_back_and_the_worker_goes_on() -> None:
    world = World()
    lost = await spoken(world, before=3, after=5)
    async with world.node() as node:
        await until(lambda: set(node.worker.refused) == {world.shard(A)})
        report = await recover(world)
        assert left_to_do(report) == []
        [taken] = [one for one in report.shards if one.taken]
        assert (taken.shard, taken.taken, taken.sequence) == (world.shard(A), 7, 11)
        same(lost, world.database)
        await until(lambda: len(node.worker.owned) == world.shards)
        again = await world.ask(A, credit(1), key="a0")
        assert (again.outcome, again.replayed) == (Outcome.APPLIED, True)
        assert (await world.ask(A, debit(10**6), key="refused")).replayed
        assert (await world.ask(A, credit(3))).balance_after == 13
        await world.taken()


@simulated
async def test_all_of_it_comes_back_from_the_topic_alone() -> None:
    world = World()
    lost = await spoken(world, before=3, after=2)
    world.database = MemoryDatabase(world.shards)
    assert left_to_do(await recover(world)) == []
    same(lost, world.database)


@simulated
async def test_a_dry_run_tells_the_same_and_changes_nothing() -> None:
    world = World()
    await spoken(world, before=1, after=4)
    before = world.database.backup()
    looked = await recover(world, dry=True)
    assert (world.database.events, world.database.receipts) == (before.events, before.receipts)
    assert [row.sequence for row in world.database.rows.values()] == [
        r.sequence for r in before.rows.values()
    ]
    assert not world.database.locks
    assert looked == await recover(world)


@simulated
@pytest.mark.parametrize("which", range(4))
async def test_killed_between_two_batches_it_goes_on(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover_tail, "BATCH_EVENTS_MAX", 2)
    world = World()
    lost = await spoken(world, before=1, after=6)
    gate = Gate()
    commits: list[str] = []

    def kill(call: str, phase: str) -> None:
        if call == "commit" and phase == ("before" if which % 2 else "after"):
            commits.append(call)
            if len(commits) == 1 + which // 2:
                raise Killed

    gate.on_pass = kill
    with pytest.raises(Killed):
        await recover(world, gate=gate)
    world.database.end_all()
    assert left_to_do(await recover(world)) == []
    same(lost, world.database)


@simulated
async def test_repeated_records_are_taken_once() -> None:
    world = World()
    lost = await spoken(world, before=2, after=3)
    records = world.kafka.events[world.shard(A)]
    records[5:5] = records[1:5]
    records += records[-4:]
    assert left_to_do(await recover(world)) == []
    same(lost, world.database)


async def refused(world: World, why: str, *, taken: int, dry: bool = False) -> None:
    shard = world.shard(A)
    before = list(world.database.events[shard])
    report = await recover(world, dry=dry)
    [line] = left_to_do(report)
    assert why in line
    assert str(shard) in line
    assert world.database.events[shard][: len(before)] == before
    assert len(world.database.events[shard]) == len(before) + taken
    assert not world.database.locks


@simulated
async def test_other_bytes_at_a_sequence_are_refused_and_never_written_over() -> None:
    world = World()
    await spoken(world, before=3, after=2)
    events = world.database.events[world.shard(A)]
    events[-1] = events[-1]._replace(value=events[-1].value.replace(b'"amount":1', b'"amount":9'))
    await refused(world, "different events at sequence 4", taken=0)


@simulated
@pytest.mark.parametrize("value", [b"{", None])
@pytest.mark.parametrize("dry", [True, False])
async def test_a_damaged_event_in_the_store_is_told_and_nothing_is_taken_behind_it(
    value: bytes | None, dry: bool
) -> None:
    world = World()
    await spoken(world, before=3, after=2)
    world.database.damage(world.shard(A), 4, value)
    await refused(world, "event at sequence 4 is missing or cannot be read", taken=0, dry=dry)


@simulated
@pytest.mark.parametrize("value", [b"{", None])
@pytest.mark.parametrize("sequence", [3, 4])
async def test_a_damaged_event_that_the_topic_never_had_is_told(value: bytes | None, sequence: int) -> None:
    world = World()
    await spoken(world, before=3, after=0)
    del world.kafka.events[world.shard(A)][2:]
    world.database.damage(world.shard(A), sequence, value)
    await refused(world, f"event at sequence {sequence} is missing or cannot be read", taken=0)


@simulated
async def test_a_store_that_went_on_by_itself_is_refused() -> None:
    """Its own events stand where the topic has others."""
    world = World()
    await spoken(world, before=1, after=3)
    kafka, world.kafka.events = dict(world.kafka.events), {s: list(e) for s, e in world.kafka.events.items()}
    shard = world.shard(A)
    del world.kafka.events[shard][2:]
    async with world.node():
        await world.ask(A, credit(500), key="elsewhere")
        await world.taken()
    world.kafka.events = kafka
    await refused(world, "different events", taken=0)


@simulated
@pytest.mark.parametrize(
    ("damage", "why", "taken"),
    [
        (lambda records: records.pop(4), "a gap", 1),
        (lambda records: records.insert(4, (b"k", b"{}")), "is no event", 1),
        (lambda records: records.__setitem__(4, (b"k", records[4][1].replace(b'"amount":1', b'"amount":2'))),
         "another predecessor", 2),
    ],
    ids=["gap", "noise", "changed"],
)  # fmt: skip
async def test_what_does_not_continue_the_chain_is_not_taken(damage, why: str, taken: int) -> None:  # type: ignore[no-untyped-def]
    world = World()
    await spoken(world, before=2, after=4)
    damage(world.kafka.events[world.shard(A)])
    await refused(world, why, taken=taken)


@simulated
async def test_the_topic_of_another_ledger_is_refused() -> None:
    world = World()
    await spoken(world, before=1, after=1)
    world.database = MemoryDatabase(world.shards, ledger_id="another")
    await refused(world, "another predecessor", taken=0)


@simulated
async def test_what_the_topic_lacks_is_left_to_the_relay() -> None:
    world = World()
    await spoken(world, before=1, after=1)
    await recover(world)
    shard, before = world.shard(A), world.database.backup()
    row = before.rows[shard]
    assert digest(before.events[shard][-1].value) == row.head
    del world.kafka.events[shard][-2:]
    report = await recover(world)
    assert left_to_do(report) == []
    assert [(one.taken, one.unpublished) for one in report.shards if one.shard == shard] == [(0, 2)]
    assert world.database.events == before.events
    async with world.node():
        await world.taken()
    assert len(world.kafka.events[shard]) == row.sequence


@simulated
async def test_a_shard_that_a_worker_owns_is_left_alone() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await until(lambda: len(node.worker.owned) == world.shards)
        report = await recover(world)
        assert (report.shards, report.owned) == ([], list(range(world.shards)))
        assert (await world.ask(A, credit(1))).outcome is Outcome.APPLIED


@simulated
async def test_a_shard_that_a_worker_looked_at_all_the_while_is_not_called_well() -> None:
    world = World()
    await spoken(world, before=1, after=2)
    async with world.node() as node:
        await until(lambda: set(node.worker.refused) == {world.shard(A)})
        looking = node.gate.hold("events_from")
        await looking.reached.wait()
        report = await recover(world)
        assert report.owned == sorted(node.worker.owned)
        [line] = left_to_do(report)
        assert line.startswith(f"shard {world.shard(A)}: ")
        assert "run it again" in line
        looking.released.set()
        assert left_to_do(await recover(world)) == []
        await until(lambda: len(node.worker.owned) == world.shards)


@simulated
async def test_what_a_worker_has_not_looked_at_yet_is_not_called_owned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody but that worker can tell it from what it owns."""
    world = World()
    await spoken(world, before=1, after=2)
    async with world.node() as node:
        looking = node.gate.hold("events_from")
        await looking.reached.wait()
        report = await recover(world)
        assert world.shard(A) in report.owned
        assert not node.worker.owned
        _tell(report, dry=False)
        assert "owns, or has not looked at to the end" in capsys.readouterr().out
        looking.released.set()
        await until(lambda: world.shard(A) in node.worker.refused)
        assert left_to_do(await recover(world)) == []
        await until(lambda: len(node.worker.owned) == world.shards)


@simulated
async def test_a_missing_data_key_is_told_and_none_is_made() -> None:
    world = World()
    lost = await spoken(world, before=1, after=2)
    world.keys.clear()
    report = await recover(world)
    [line] = left_to_do(report)
    assert report.keyless == [f"{world.shard(A)}:3"]
    assert "no key" in line
    assert world.keys == {}
    same(lost, world.database)
