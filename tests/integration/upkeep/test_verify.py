"""Whatever is damaged by hand, `verify` finds it, says where, and says nothing of whole data."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from psycopg.rows import TupleRow

from events.codec import genesis
from events.ids import owner_of
from events.topics import EVENTS
from services import reading
from services.console.mistakes import explain
from services.ledger.recovery.verify import verify_shard as verify_store
from services.mistakes import ExitCode
from services.projections import verify
from services.projections.verify import verify_shard as verify_views
from services.reading import Silent
from services.verifying import Kind, Throttle, confirmed
from tests.asking import TENANT
from tests.docs.documents import ROOT
from tests.integration.upkeep.conftest import CUSTOMERS, ROUNDS, SHARDS, command, keys_of
from tests.running import System

HURT = 1
LAST = -1
"""Stands for the last sequence of the shard."""
OTHER_BYTES = "convert_to(replace(convert_from(state, 'UTF8'), '\"amount\":103', '\"amount\":113'), 'UTF8')"
FIVE = "shard = 1 AND sequence = 5"


async def found(system: System, part: str, shard: int = HURT) -> set[tuple[Kind, int]]:
    """Kind and sequence of everything that does not fit in this shard."""
    settings = system.settings
    if part == "store":
        checked = await verify_store(settings, shard, Throttle())
    else:
        checked = await verify_views(settings, keys_of(system), shard, Throttle())
    with system.store() as store:
        ((last,),) = store.execute("SELECT sequence FROM shards WHERE shard = %s", [shard]).fetchall()
    assert checked.sequence == last or checked.findings
    assert all(one.shard == shard for one in checked.findings)
    return {(one.kind, LAST if one.sequence == last else one.sequence) for one in checked.findings}


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("part", ["store", "views"])
async def test_nothing_is_found_where_nothing_is_damaged(system: System, part: str, shard: int) -> None:
    assert await found(system, part, shard) == set()


async def test_a_log_that_grows_meanwhile_is_followed_before_it_is_held(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "HELD_RECORDS_MAX", 0)
    assert await found(system, "views") == set()


@contextmanager
def damaged(connection: psycopg.Connection[TupleRow], *statements: str) -> Iterator[None]:
    """And healed afterwards, from copies of the tables."""
    tables = (
        "stored_events",
        "receipts",
        "shards",
        "wallets",
        "ledger_entries",
        "accounts",
        "customers",
        "checkpoints",
    )
    there = [
        name for name in tables if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,)
    ]
    columns = {}
    for name in there:
        rows = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = ''", [name],
        ).fetchall()  # fmt: skip
        columns[name] = ", ".join(column for (column,) in rows)
        connection.execute(f"CREATE TEMP TABLE kept_{name} AS SELECT * FROM {name}".encode())
    try:
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount > 0, "the damage is none"
        yield
    finally:
        for name in there:
            connection.execute(f"DELETE FROM public.{name}".encode())
            copy = f"INSERT INTO public.{name} ({columns[name]}) SELECT {columns[name]} FROM kept_{name}"
            connection.execute(copy.encode())
            connection.execute(f"DROP TABLE kept_{name}".encode())


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        (f"UPDATE stored_events SET state = {OTHER_BYTES} WHERE {FIVE}",
         {(Kind.TOPIC, 5), (Kind.CHAIN, 6), (Kind.BALANCE, 5)}),
        (f"DELETE FROM stored_events WHERE {FIVE}",
         {(Kind.CHAIN, 5), (Kind.CHAIN, 6), (Kind.TOPIC, 5), (Kind.BALANCE, 6), (Kind.RECEIPT, 5)}),
        (f"UPDATE stored_events SET originator_version = 900 WHERE {FIVE}", {(Kind.COLUMN, 5)}),
        (f"UPDATE stored_events SET topic = 'wallet.debited.v1' WHERE {FIVE}", {(Kind.COLUMN, 5)}),
        (f"DELETE FROM receipts WHERE {FIVE}", {(Kind.RECEIPT, 5)}),
        (f"UPDATE receipts SET request_hash = '1:00' WHERE {FIVE}", {(Kind.RECEIPT, 5)}),
        ("INSERT INTO receipts SELECT stream, origin, sha256('forged'), request_hash, shard, sequence, command_id, "
         f"command_position FROM receipts WHERE {FIVE}", {(Kind.RECEIPT, 5)}),
        ("UPDATE shards SET head = sha256('other') WHERE shard = 1", {(Kind.HEAD, LAST)}),
        ("UPDATE ledger SET ledger_id = gen_random_uuid()", None),
    ],
    ids=["bytes", "lost", "version", "type", "no receipt", "other receipt", "forged receipt", "head", "ledger"],
)  # fmt: skip
async def test_damage_of_the_store_is_found(
    system: System, statement: str, kinds: set[tuple[Kind, int]] | None
) -> None:
    if kinds is None:  # no table that is healed below
        await _another_ledger(system, statement)
        return
    with system.store() as store, damaged(store, statement):
        assert await found(system, "store") == kinds


async def _another_ledger(system: System, statement: str) -> None:
    with system.store() as store:
        (ledger_id,) = store.execute("SELECT ledger_id FROM ledger").fetchone() or ()
        store.execute(statement.encode())
        assert await found(system, "store") == {(Kind.CHAIN, 1)}
        store.execute("UPDATE ledger SET ledger_id = %s", [ledger_id])


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        (f"UPDATE ledger_entries SET reference = 'x' WHERE {FIVE}", {(Kind.READ_MODEL, 5)}),
        (f"DELETE FROM ledger_entries WHERE {FIVE}", {(Kind.READ_MODEL, 5), (Kind.BALANCE, 0)}),
        ("INSERT INTO ledger_entries SELECT shard, 3000, business_id, mode, customer_id, 'wle_forged', currency, "
         "is_credit, amount_minor, balance_before_minor, balance_after_minor, cause, counter_account, reference, "
         f"reason, created_at FROM ledger_entries WHERE {FIVE}", {(Kind.READ_MODEL, 3000), (Kind.BALANCE, 0)}),
        ("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE shard = 1 AND currency = 'USD'",
         {(Kind.BALANCE, 0), (Kind.READ_MODEL, 0)}),
        ("UPDATE accounts SET balance_minor = balance_minor + 1 WHERE shard = 1 AND account = 'wallets'",
         {(Kind.READ_MODEL, 0), (Kind.TRIAL_BALANCE, 0)}),
        ("UPDATE customers SET email = 'other@example.com' WHERE shard = 1", {(Kind.READ_MODEL, 0)}),
        ("DELETE FROM customers WHERE shard = 1", {(Kind.READ_MODEL, 0)}),
        ("UPDATE checkpoints SET head = sha256('other') WHERE shard = 1", {(Kind.HEAD, LAST)}),
    ],
    ids=["entry", "lost entry", "forged entry", "wallet", "account", "customer", "lost customer", "checkpoint"],
)  # fmt: skip
async def test_damage_of_the_read_models_is_found(
    system: System, statement: str, kinds: set[tuple[Kind, int]]
) -> None:
    with system.views() as views, damaged(views, statement):
        assert await found(system, "views") == kinds


async def test_a_data_key_that_is_missing_is_found_and_ends_a_rebuild(system: System) -> None:
    """The rebuilt tables would hold nothing personal of that customer, for good."""
    owner = owner_of(TENANT, CUSTOMERS[HURT])
    with psycopg.connect(system.settings.keys_dsn.get_secret_value(), autocommit=True) as keys:
        gone = "DELETE FROM data_keys WHERE owner = %s RETURNING owner, wrapped"
        [row] = keys.execute(gone, [owner]).fetchall()
        try:
            assert await found(system, "views") == {(Kind.CHAIN, 1)}
            ran = await asyncio.to_thread(command, system, "projections", "rebuild")
        finally:
            keys.execute("INSERT INTO data_keys (owner, wrapped) VALUES (%s, %s)", row)
    assert ran.code == 5
    assert f"shard {HURT} at 1: sealed part: its data key is missing" in ran.err
    assert await found(system, "views") == set()


@pytest.mark.parametrize("part", ["store", "views"])
async def test_a_kafka_that_sends_nothing_is_no_damage(
    system: System, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told to rebuild for it: the check is tried again, and the command says that Kafka does not answer."""

    async def nothing(consumer: AIOKafkaConsumer, **wanted: int) -> dict[TopicPartition, object]:
        await asyncio.sleep(0.01)
        return {}

    monkeypatch.setattr(reading, "SILENCE_SECONDS_MAX", 0.1)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", nothing)
    with pytest.raises(Silent, match="nothing") as silence:
        await found(system, part)
    mistake = explain(silence.value)
    assert mistake is not None
    assert mistake.exit_code is ExitCode.UNREACHABLE
    assert str(mistake).startswith("Kafka sent nothing for 0 s")


async def test_a_foreign_record_in_the_topic_is_found_and_ends_a_rebuild(system: System) -> None:
    """Last of its kind here: nothing takes a record out of a topic again. So it goes to a partition of its own."""
    producer = AIOKafkaProducer(bootstrap_servers=system.kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(EVENTS.name, b"noise", partition=2)
    await producer.stop()
    assert await found(system, "store", 2) == {(Kind.TOPIC, 0)}
    for options in ([], ["--processes", "2"]):
        ran = await asyncio.to_thread(command, system, "projections", "rebuild", *options)
        assert ran.code == 5
        assert "shard 2" in ran.err
        assert "stay as they were" in ran.err
    assert await found(system, "views", 1) == set()


def test_the_command_tells_all_of_it_and_ends_with_five(system: System) -> None:
    with system.views() as views, damaged(views, "UPDATE customers SET name = 'Eve' WHERE shard = 1"):
        ran = command(system, "verify")
        assert ran.code == 5
        told = {(one["kind"], one["shard"]) for one in ran.out["findings"]}
        assert ("read_model", HURT) in told
        assert ran.out["verified"]["store"]["1"] > ROUNDS
        assert "Trần" not in str(ran)
        assert "Eve" not in str(ran)


def test_the_runbook_makes_a_genesis_as_the_code_does(system: System) -> None:
    """For a store that is made again from the topic alone."""
    runbook = (ROOT / "docs" / "operations.md").read_text()
    [said] = re.findall(r"UPDATE shards SET head = (.*)\n", runbook)
    with system.store() as store:
        ((ledger_id,),) = store.execute("SELECT ledger_id FROM ledger").fetchall()
        heads = store.execute(f"SELECT shard, {said} FROM shards".encode()).fetchall()
    assert dict(heads) == {shard: genesis(str(ledger_id), shard) for shard in range(SHARDS)}


async def test_what_a_second_look_does_not_find_is_not_told(system: System) -> None:
    looks = []

    async def check(shard: int):  # type: ignore[no-untyped-def]
        looks.append(shard)
        with system.store() as store:
            if len(looks) == 1:
                with damaged(store, f"DELETE FROM receipts WHERE {FIVE}"):
                    return await verify_store(system.settings, shard, Throttle())
            return await verify_store(system.settings, shard, Throttle())

    assert (await confirmed(check, HURT)).findings == []
    assert looks == [HURT, HURT]
