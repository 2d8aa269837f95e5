"""A store that is not the one which wrote the topic: its shards are not owned, and the others go on."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from events.commands import CloseCustomer, EraseCustomer
from events.ids import owner_of
from events.replies import Outcome
from services.ledger.recovery.verify import verify_shard
from services.verifying import Throttle
from tests.asking import TENANT, asking, credit, customer_in, debit, read_topic, registration
from tests.integration.upkeep.conftest import command
from tests.running import Process, System, eventually, running

SHARDS = 3
AHEAD = 1
LAST = "WHERE shard = %s AND sequence = (SELECT max(sequence) FROM stored_events WHERE shard = %s)"
OTHER_BYTES = f"""
    UPDATE stored_events SET state = convert_to(replace(convert_from(state, 'UTF8'), '"amount":7', '"amount":9'), 'UTF8')
    {LAST}
"""
DAMAGED = f"UPDATE stored_events SET state = overlay(state placing '\\x00'::bytea from 1) {LAST}"


@pytest.fixture
def system() -> Iterator[System]:
    with running(SHARDS) as started:
        yield started


GONE = customer_in(AHEAD, SHARDS, "e")
OWNER = owner_of(TENANT, GONE)
CUSTOMERS = [customer_in(shard, SHARDS, "d") for shard in range(SHARDS)]


async def written(system: System, *, credited: list[str]) -> None:
    """A worker's life: customers registered, some credited, all of it in the topic."""
    worker = system.service("ledger", uuid4().hex)
    worker.start()
    async with asking(system.kafka.bootstrap, SHARDS) as asker:
        for customer in CUSTOMERS:
            assert (
                await asker.ask(customer, registration(), f"register {customer}")
            ).outcome is Outcome.APPLIED
        for customer in credited:
            assert (await asker.ask(customer, credit(7), uuid4().hex)).outcome is Outcome.APPLIED
    eventually(lambda: worker.metric("wallet_ledger_relay_lag_events") == 0, 10, what="all is published")
    worker.stop()


def copied(system: System) -> SecretStr:
    """A backup of the store, as another database."""
    with closing(psycopg.connect(system.postgres.dsn(), autocommit=True)) as connection:
        connection.execute("CREATE DATABASE backup TEMPLATE store")
    return SecretStr(system.postgres.dsn("backup"))


async def test_a_store_restored_from_a_backup_does_not_diverge_silently(system: System) -> None:
    await written(system, credited=CUSTOMERS)
    backup = copied(system)
    await written(system, credited=[CUSTOMERS[AHEAD]])
    await only_the_shard_concerned_stands_still(system, backup)


@pytest.mark.parametrize("changed", [OTHER_BYTES, DAMAGED], ids=["another event", "no event"])
async def test_other_bytes_at_a_sequence_do_not_diverge_silently(
    changed: LiteralString, system: System
) -> None:
    await written(system, credited=CUSTOMERS)
    with system.store() as store:
        assert store.execute(changed, [AHEAD, AHEAD]).rowcount == 1
    await only_the_shard_concerned_stands_still(system, system.settings.store_dsn)


async def test_a_restored_store_takes_the_tail_back_and_its_worker_goes_on(system: System) -> None:
    await written(system, credited=CUSTOMERS)
    backup = copied(system)
    async with asking(system.kafka.bootstrap, SHARDS) as asker:
        late = system.started("ledger", "late")
        first = await asker.ask(CUSTOMERS[AHEAD], credit(40), "after the backup")
        no = await asker.ask(CUSTOMERS[AHEAD], debit(10**9), "refused after the backup")
        await asker.ask(GONE, registration(), "gone")
        with psycopg.connect(system.settings.keys_dsn.get_secret_value()) as keys:
            kept = keys.execute("SELECT wrapped FROM data_keys WHERE owner = %s", [OWNER]).fetchall()
        for ask in (CloseCustomer(), EraseCustomer()):
            assert (await asker.ask(GONE, ask, ask.TYPE)).outcome is Outcome.APPLIED
        eventually(lambda: late.metric("wallet_ledger_relay_lag_events") == 0, 10, what="all is published")
        late.stop()
        with psycopg.connect(system.settings.keys_dsn.get_secret_value()) as keys:  # of the same night
            back = "UPDATE data_keys SET wrapped = %s, erased_at = NULL WHERE owner = %s AND wrapped IS NULL"
            assert keys.execute(back, [*kept[0], OWNER]).rowcount == 1

        worker = system.service("ledger", "restored", store_dsn=backup)
        worker.start()
        eventually(lambda: owned(worker) == (SHARDS - 1, 1), what="all shards but one are owned")
        assert "wallet-ledger recover" in worker.problems()["topic"]
        system.settings = system.settings.model_copy(update={"store_dsn": backup})
        looked = await asyncio.to_thread(command, system, "recover", "--dry-run")
        assert [(one["shard"], one["taken"]) for one in looked.out["shards"]] == [(AHEAD, 5)]
        took = await asyncio.to_thread(command, system, "recover")
        assert (took.code, took.out["shards"], took.out["left"]) == (0, looked.out["shards"], [])

        with psycopg.connect(system.settings.keys_dsn.get_secret_value()) as keys:
            found = keys.execute("SELECT wrapped FROM data_keys WHERE owner = %s", [OWNER]).fetchall()
        assert found == [(None,)], "what the topic calls erased is erased again"

        eventually(lambda: owned(worker) == (SHARDS, 0), 20, what="the worker owns all shards by itself")
        again = await asker.ask(CUSTOMERS[AHEAD], credit(40), "after the backup")
        assert (again.replayed, again.position) == (True, first.position)
        again = await asker.ask(CUSTOMERS[AHEAD], debit(10**9), "refused after the backup")
        assert (again.replayed, again.position) == (True, no.position)
        assert (await asker.ask(CUSTOMERS[AHEAD], credit(1), "goes on")).balance_after == 48
    for shard in range(SHARDS):
        assert (await verify_shard(system.settings, shard, Throttle())).findings == []


async def only_the_shard_concerned_stands_still(system: System, store_dsn: SecretStr) -> None:
    before = await read_topic(system.kafka.bootstrap, SHARDS)
    worker = system.service("ledger", "restored", store_dsn=store_dsn)
    worker.start()
    eventually(lambda: owned(worker) == (SHARDS - 1, 1), what="all shards but one are owned")
    async with asking(system.kafka.bootstrap, SHARDS) as asker:
        refused = await asker.send(CUSTOMERS[AHEAD], credit(1), uuid4().hex)
        for customer in (CUSTOMERS[0], CUSTOMERS[2]):
            assert (await asker.ask(customer, credit(1), uuid4().hex)).outcome is Outcome.APPLIED
        with pytest.raises(TimeoutError):
            await asker.reply(refused, 3)
    assert f"[{AHEAD}]" in worker.problems()["topic"]
    assert worker.said("topic_diverged", f'"shard": {AHEAD}')
    eventually(lambda: worker.metric("wallet_ledger_relay_lag_events") == 0, 10, what="all is published")
    after = await read_topic(system.kafka.bootstrap, SHARDS)
    assert [len(after[shard]) - len(before[shard]) for shard in range(SHARDS)] == [1, 0, 1]
    assert worker.returncode() is None


def owned(worker: Process) -> tuple[float, float]:
    return worker.metric("wallet_ledger_shards_owned"), worker.metric("wallet_ledger_shards_refused")
