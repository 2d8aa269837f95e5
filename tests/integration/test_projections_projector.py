"""The projector on a real PostgreSQL: rows are the fold of the events, whatever happens on the way."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from events.ids import parse_position
from services.keyring import KeyRing, WrongKek
from services.mistakes import WrongShards
from services.projections.__main__ import build
from services.projections.applying import ChainBroken, CheckpointMoved
from services.projections.breaks import TIMES_MAX
from services.projections.chain import read
from services.projections.projector import Healed, Lost, Projector
from services.projections.unsealing import unsealed
from services.reading import Record
from services.sessions import CHANNEL
from tests.integration.read_models import SHARDS, Views, business, expect, make_views
from tests.unit.projections.reading import records_of


@pytest.fixture
def views(database: Callable[[str], str]) -> Views:
    return make_views(database)


def test_rows_are_the_fold_of_the_events_and_checkpoints_say_how_far(views: Views) -> None:
    factory = business(views.factory())
    applied = views.projector().apply(records_of(factory.records))
    assert applied.events == len(factory.records)
    expect(views, factory)
    reached = {row["shard"]: (row["sequence"], row["next_offset"]) for row in views.rows("checkpoints")}
    last = {record.shard: record.sequence for record in factory.records}
    assert reached == {shard: (last.get(shard, 0), last.get(shard, 0)) for shard in range(SHARDS)}
    reasons = {row["reason"] for row in views.rows("ledger_entries")}
    assert reasons == {"a reason", None}


def test_other_shards_and_another_key_are_refused(views: Views) -> None:
    build(views.settings)
    with pytest.raises(
        WrongShards, match=f"has {SHARDS} shards for ever; the configuration says {SHARDS + 1}"
    ):
        build(views.settings.model_copy(update={"shards": SHARDS + 1}))
    views.factory().registered("cus_1")
    build(views.settings)
    with pytest.raises(WrongKek):
        build(views.settings.model_copy(update={"key_encryption_key": SecretStr("A" * 43 + "=")}))


def test_the_trial_balance_is_zero(views: Views) -> None:
    views.projector().apply(records_of(business(views.factory()).records))
    with psycopg.connect(views.dsn) as connection:
        sums = connection.execute(
            "SELECT business_id, mode, currency, sum(balance_minor), count(*) FROM accounts GROUP BY 1, 2, 3"
        ).fetchall()
    assert {row[2] for row in sums} == {"USD", "INR"}
    assert all(row[3] == 0 and row[4] >= 2 for row in sums)


def test_a_second_delivery_changes_nothing(views: Views) -> None:
    records = records_of(business(views.factory()).records)
    projector = views.projector()
    projector.apply(records)
    before = views.everything()
    assert projector.apply(records).events == 0
    assert views.projector().apply(records).events == 0
    assert views.everything() == before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_cut_into_batches_with_repeats_and_restarts_gives_the_same_rows(
    views: Views, data: st.DataObject
) -> None:
    views.clear()
    factory = business(views.factory(), customers=3)
    records = records_of(factory.records)
    projector, at = views.projector(), 0
    while at < len(records):
        back = data.draw(st.integers(0, at))
        ahead = data.draw(st.integers(1, len(records) - at))
        if data.draw(st.booleans()):
            projector = views.projector()
        projector.apply(records[at - back : at + ahead])
        at += ahead
    expect(views, factory)


def test_of_two_twins_each_event_is_written_once(views: Views) -> None:
    factory = business(views.factory())
    records = records_of(factory.records)
    first, second = views.projector(), views.projector()
    for at in range(0, len(records), 4):
        batch = records[at : at + 4]
        applied = first.apply(batch).events, second.apply(batch).events
        assert applied == (len(batch), 0)
        first, second = second, first
    expect(views, factory)


def test_a_paused_twin_cannot_write_last(views: Views) -> None:
    """It read its batch, was frozen, and wakes when others are long past it: its statement must fail, not its luck."""
    factory = business(views.factory())
    records = records_of(factory.records)
    paused, awake = views.projector(), views.projector()
    awake.apply(records)
    before = views.everything()
    reading = unsealed(paused._keys, read(paused._seen, records[:9]))
    assert reading.events
    with pytest.raises(CheckpointMoved):
        paused._write(reading)
    assert views.everything() == before


def test_what_comes_before_a_gap_is_kept_and_the_gap_is_never_skipped(views: Views) -> None:
    factory = business(views.factory())
    records = records_of(factory.records)
    lost = records[len(records) // 2]
    with pytest.raises(ChainBroken) as caught:
        views.projector().apply([record for record in records if record is not lost])
    [found] = caught.value.breaks
    assert (found.shard, found.sequence) == (lost.shard, lost.offset + 1)
    reached = {row["shard"]: row["sequence"] for row in views.rows("checkpoints")}
    last = {record.shard: record.sequence for record in factory.records}
    assert reached == last | {lost.shard: lost.offset}

    views.projector().apply(records)
    expect(views, factory)
    assert views.rows("chain_breaks") == []


def test_the_third_time_at_one_place_halts_the_shard_and_no_other(views: Views) -> None:
    factory = business(views.factory())
    records = records_of(factory.records)
    poison = records[3]._replace(value=b"poison")
    for _ in range(TIMES_MAX - 1):
        with pytest.raises(ChainBroken):
            views.projector().apply([*records[:3], poison])
    projector = views.projector()
    projector.apply([*records[:3], poison])
    assert set(projector.breaks.halted) == {poison.shard}
    assert projector.apply(records[3:]).events == sum(record.shard != poison.shard for record in records[3:])
    [kept] = views.rows("chain_breaks")
    assert (kept["shard"], kept["sequence"], kept["times"]) == (poison.shard, poison.offset + 1, TIMES_MAX)

    projector.beat("x")
    with psycopg.connect(views.dsn) as rebuild:
        rebuild.execute("DELETE FROM chain_breaks")
    with pytest.raises(Healed, match=str(poison.shard)):  # its successor reads what was dropped meanwhile
        projector.beat("x")

    healed = views.projector()
    healed.apply(records)
    assert not healed.breaks.halted
    expect(views, factory)
    assert views.rows("chain_breaks") == []


def test_an_event_that_the_database_refuses_is_a_break_at_that_event(views: Views) -> None:
    factory = business(views.factory(), customers=2)
    records = records_of(factory.records)
    with psycopg.connect(views.dsn) as connection:
        connection.execute("ALTER TABLE ledger_entries ADD CHECK (amount_minor <> 1)")
    refused = [record for record in records if b'"amount":1,' in record.value]
    with pytest.raises(ChainBroken) as caught:
        views.projector().apply(records)
    first = {record.shard: record.offset + 1 for record in reversed(refused)}
    assert {found.shard: found.sequence for found in caught.value.breaks} == first
    assert all("CheckViolation" in found.reason for found in caught.value.breaks)
    reached = {row["shard"]: row["sequence"] for row in views.rows("checkpoints")}
    assert all(reached[shard] == sequence - 1 for shard, sequence in first.items())


def test_an_erased_customer_has_rows_without_personal_data(views: Views) -> None:
    factory = business(views.factory(), customers=1)
    KeyRing(views.keys_dsn, views.kek).destroy(factory.keys)
    views.projector().apply(records_of(factory.records))
    [row] = views.rows("customers")
    assert (row["name"], row["email"], row["phone_number"], row["metadata"]) == ("", "", None, {})
    assert {entry["reason"] for entry in views.rows("ledger_entries")} == {None}
    assert len(views.rows("ledger_entries")) == 4


def test_a_seal_that_does_not_open_is_a_break_not_an_empty_row(views: Views) -> None:
    factory = business(views.factory(), customers=1)
    with psycopg.connect(views.keys_dsn) as connection:
        connection.execute("DELETE FROM data_keys")
    views.factory().key_of("cus_0")  # another key in its place
    with pytest.raises(ChainBroken) as caught:
        views.projector().apply(records_of(factory.records))
    assert [found.sequence for found in caught.value.breaks] == [1]
    assert views.rows("customers") == []


@pytest.fixture
def listening(views: Views) -> Iterator[psycopg.Connection]:
    with psycopg.connect(views.dsn, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def test_who_waits_is_told_once_per_batch_after_the_commit(
    views: Views, listening: psycopg.Connection
) -> None:
    records = records_of(business(views.factory()).records)
    views.projector().apply(records)
    [told] = listening.notifies(timeout=5, stop_after=1)
    last = {record.shard: record.offset + 1 for record in records}
    assert dict(parse_position(word) for word in told.payload.split()) == last


def cut_off(views: Views, projector: Projector) -> None:
    """Its session with the database ends."""
    pid = projector.connection().info.backend_pid
    with psycopg.connect(views.dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])


def test_after_a_lost_connection_the_same_batch_may_be_given_again(views: Views) -> None:
    factory = business(views.factory())
    records = records_of(factory.records)
    projector = views.projector()
    projector.apply(records[:5])
    cut_off(views, projector)
    with pytest.raises(psycopg.OperationalError):
        projector.apply(records[5:])
    projector.reset()
    projector.apply(records[5:])
    expect(views, factory)


def test_a_break_that_a_lost_transaction_had_passed_is_passed_by_the_next(views: Views) -> None:
    records = records_of(business(views.factory()).records)
    with pytest.raises(ChainBroken):
        views.projector().apply([*records[:3], records[3]._replace(value=b"poison")])
    projector = views.projector()
    cut_off(views, projector)
    with pytest.raises(psycopg.OperationalError):
        projector.apply(records)
    projector.reset()
    projector.apply(records)
    assert views.rows("chain_breaks") == []


def test_what_a_crash_of_the_server_took_is_missed_and_is_no_break_of_the_chain(views: Views) -> None:
    factory = business(views.factory())
    records = records_of(factory.records)
    projector = views.projector()
    projector.apply(records[:-1])
    projector.beat("x")
    views.clear()  # as if the server had not written its last commits when it crashed
    cut_off(views, projector)
    with pytest.raises(psycopg.OperationalError):
        projector.beat("x")
    projector.reset()
    with pytest.raises(Lost):
        projector.beat("x")
    with pytest.raises(Lost):
        projector.apply(records[-1:])
    assert views.rows("chain_breaks") == []
    views.projector().apply(records)
    expect(views, factory)


def test_a_damaged_data_key_stops_its_shard_and_no_other(views: Views) -> None:
    records = records_of(business(views.factory()).records)
    with psycopg.connect(views.keys_dsn) as keys:
        [(owner,)] = keys.execute(
            "UPDATE data_keys SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20)) "
            "WHERE owner = (SELECT min(owner::text)::uuid FROM data_keys) RETURNING owner"
        )
    with pytest.raises(ChainBroken) as caught:
        views.projector().apply(records)
    [found] = caught.value.breaks
    assert found.reason == "sealed part: its data key does not unwrap"
    others = {record.shard for record in records} - {found.shard}
    last = {record.shard: record.offset + 1 for record in records}
    reached = {row["shard"]: row["sequence"] for row in views.rows("checkpoints")}
    assert {shard: reached[shard] for shard in others} == {shard: last[shard] for shard in others}
    assert reached[found.shard] == found.sequence - 1

    ring = KeyRing(views.keys_dsn, views.kek)
    assert ring.get([owner]) == {} == ring.get_or_create([owner])
    assert ring.damaged == {owner}


def test_a_data_key_that_is_missing_is_no_erasure_and_stops_its_shard(views: Views) -> None:
    """Of an older backup, say: what is written empty now would stay so when the right one is back."""
    factory = business(views.factory())
    records = records_of(factory.records)
    first = records[0]
    owner = next(iter(factory.keys))
    with psycopg.connect(views.keys_dsn) as keys:
        kept = keys.execute(
            "DELETE FROM data_keys WHERE owner = %s RETURNING owner, wrapped", [owner]
        ).fetchone()
    with pytest.raises(ChainBroken) as caught:
        views.projector().apply(records)
    [found] = caught.value.breaks
    assert found == (first.shard, 1, "sealed part: its data key is missing")
    last = {record.shard: record.offset + 1 for record in records}
    reached = {row["shard"]: row["sequence"] for row in views.rows("checkpoints")}
    assert reached == last | {first.shard: 0}

    with psycopg.connect(views.keys_dsn) as keys:
        keys.execute("INSERT INTO data_keys (owner, wrapped) VALUES (%s, %s)", kept)
    views.projector().apply(records)
    expect(views, factory)
    assert views.rows("chain_breaks") == []


def test_a_record_without_a_value_is_poison_too(views: Views) -> None:
    with pytest.raises(ChainBroken):
        views.projector().apply([Record(0, 0, b"")])
