"""Bulk records in a worker: how many go into a batch, and where a shard is read on."""

import pytest
from msgspec.structs import replace

from events.codec import decode_fact
from events.facts import WalletCredited
from events.replies import Outcome
from events.sharding import shard_of
from services.ledger.batches import admission, decisions, settling
from services.ledger.ports import ShardRow
from tests.fakes.asking import REGISTER, bulk, command, credit, debit, entry
from tests.fakes.simulation import START_MICROS, simulated
from tests.fakes.world import World

A = "cus_a"


@simulated
async def test_entries_are_answered_together_after_the_commit() -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        reply = await world.ask(
            A, bulk(entry(A, credit(5), "1"), entry(A, debit(6), "2"), entry(A, debit(5), "3"))
        )
        assert [one.code or one.outcome.value for one in reply.entries] == [
            "applied", "INSUFFICIENT_WALLET_FUNDS", "applied",
        ]  # fmt: skip
        await world.taken()
    assert [event.commandid.partition(".")[2] for event in world.stored(A)] == ["", "0", "1", "2"]


@simulated
async def test_a_known_key_is_met_at_the_commit_and_the_rest_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "CAREFUL_COMMANDS", 0)
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5), key="1")
        reply = await world.ask(A, bulk(entry(A, credit(5), "1"), entry(A, debit(2), "2")))
        assert [(one.replayed, one.balance_after) for one in reply.entries] == [(True, 5), (False, 3)]
        await world.taken()


@simulated
async def test_a_mistake_in_keys_does_not_hide_that_an_entry_was_applied_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is told that nothing was applied tries again with new keys."""
    monkeypatch.setattr(settling, "CAREFUL_COMMANDS", 0)
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        known = await world.ask(A, credit(5), key="1")
        mistaken = bulk(
            entry(A, credit(5), "1"), entry(A, credit(6), "2"), entry(A, credit(7), "2"), together=True
        )
        first, *others = (await world.ask(A, mistaken)).entries
        assert (first.replayed, first.position) == (True, known.position)
        assert [one.code for one in others] == ["ANOTHER_ENTRY_FAILED", "IDEMPOTENCY_KEY_REUSED"]
        await world.taken()


@simulated
async def test_a_batch_counts_entries_and_cold_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = admission.read

    def counted(*arguments: object) -> object:
        read.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(settling, "BATCH_COMMANDS_MAX", 6)
    monkeypatch.setattr(decisions, "BATCH_COLD_MAX", 2)
    monkeypatch.setattr(admission, "read", counted)
    world = World(shards=1)
    names = [f"cus_{number}" for number in range(4)]
    for name in names:
        world.send(name, REGISTER)
    records = [bulk(*[entry(names[0], credit(1), f"{record}.{n}") for n in range(4)]) for record in range(3)]
    records.append(bulk(*[entry(name, credit(1), "all") for name in names]))
    asked = [world.send(names[0], one) for one in records]
    async with world.node():
        found = [await world.answer(one) for one in asked]
    assert [len(reply.entries) for reply in found] == [4, 4, 4, 4]
    assert {one.outcome for reply in found for one in reply.entries} == {Outcome.APPLIED}
    assert len(read) <= 2 * (len(names) + len(records)), "what does not fit is not read again and again"


@simulated
async def test_a_late_record_repeats_what_is_known_and_decides_nothing_new() -> None:
    """503 says certainly not applied: of no entry that has a receipt, and of every other one."""
    world = World()
    for together in (False, True):
        async with world.node():
            await world.ask(A, REGISTER)
            known = await world.ask(A, credit(5), key=f"1 {together}")
            late = bulk(
                entry(A, credit(5), f"1 {together}"),
                entry(A, credit(6), f"1 {together}"),
                entry(A, credit(7), f"2 {together}"),
                together=together,
            )
            reply = await world.ask(A, late, deadline=START_MICROS - 1)
            first, reused, new = reply.entries
            assert (first.replayed, first.position) == (True, known.position)
            assert (reused.outcome, new.outcome) == (Outcome.KEY_REUSED, Outcome.LATE)
            unknown = await world.ask(
                A, bulk(entry(A, credit(7), f"3 {together}")), deadline=START_MICROS - 1
            )
            assert (unknown.outcome, unknown.entries) == (Outcome.LATE, [])
            await world.taken()
    assert (last_balance(world), len(world.stored(A))) == (10, 4)


def last_balance(world: World) -> int:
    """Of the last movement."""
    facts = [decode_fact(event) for event in world.stored(A)]
    return [fact.balance_after for fact in facts if isinstance(fact, WalletCredited)][-1]


def test_where_a_shard_is_read_on() -> None:
    value = command(7, A, bulk(entry(A, credit(1), "k")))
    row = ShardRow(shard_of(A, 4), 1, 41, "cmd_7", 9, b"", 0, 0, -1)
    assert admission.standing(value, row) == 42
    assert admission.standing(value, replace(row, position_command_id="cmd_7.3")) == 41
    for other in ("cmd_8", "cmd_8.3", "", "."):
        assert admission.standing(value, replace(row, position_command_id=other)) is None
