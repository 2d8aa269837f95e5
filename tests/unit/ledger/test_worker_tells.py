"""What a worker tells operators of its batches: metrics and logs."""

from structlog.typing import EventDict

from tests.fakes.asking import REGISTER, credit, debit, stream_of
from tests.fakes.simulation import simulated
from tests.fakes.world import World
from tests.tallied import tallied
from tests.unit.ledger.telling import payment

A = "cus_a"
COMMANDS = "wallet_ledger_commands_total"


@simulated
async def test_commands_effects_and_dead_letters_are_counted() -> None:
    world = World()
    with (
        tallied(COMMANDS, type="wallet.credit.v1", outcome="applied") as credits,
        tallied(COMMANDS, type="wallet.debit.v1", outcome="refused") as refusals,
        tallied("wallet_ledger_upstream_effects_total", rule="top_up", outcome="moved") as effects,
        tallied("wallet_ledger_dead_letters_total", code="INVALID_COMMAND") as letters,
        tallied("wallet_ledger_batch_commands_sum") as taken,
        tallied("wallet_ledger_batch_commands_count") as batches,
        tallied("wallet_ledger_commit_seconds_count") as commits,
    ):
        for ask in (REGISTER, credit(1), credit(2), debit(9), payment()):
            world.send(A, ask)
        world.send_bytes(world.shard(A), b"{")
        async with world.node():
            await world.taken()
    assert (credits(), refusals(), effects(), letters()) == (2, 1, 1, 1)
    assert taken() == 6
    assert commits() == batches() == 1


@simulated
async def test_what_cannot_be_stored_is_an_alarm_that_names_its_record(logs: list[EventDict]) -> None:
    world = World(shards=1)
    world.database.refused.add(stream_of(A))
    with tallied("wallet_ledger_commits_failed_total", error="Unstorable") as failed:
        world.send("cus_b", REGISTER)
        world.send(A, REGISTER)
        async with world.node():
            await world.taken()
    assert failed() == 2  # both together, and the one alone
    [alarm] = [entry for entry in logs if entry["log_level"] == "error"]
    assert alarm == {
        "event": "command_unstorable", "shard": 0, "offset": 1, "error": "DataError", "log_level": "error",
    }  # fmt: skip
