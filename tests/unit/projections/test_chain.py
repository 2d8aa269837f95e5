"""Repeats are skipped; whatever else is not the next event stops its shard, and only its shard."""

import msgspec
import pytest

from events.codec import decode_envelope, decode_fact, digest, encode_envelope
from events.ids import owner_of
from services.projections.chain import Break, Checkpoint, read
from services.projections.projector import NOTIFY_BYTES_MAX, payloads
from services.reading import Record
from tests.asking import customer_in
from tests.factories import EventFactory
from tests.unit.projections.reading import records_of, start


@pytest.fixture
def records() -> list[Record]:
    """Five events of the only shard."""
    factory = EventFactory(shards=1)
    factory.registered("cus_1")
    for _ in range(4):
        factory.credited("cus_1", 5)
    return records_of(factory.records)


@pytest.fixture
def both() -> list[Record]:
    """Four events in each of two shards, one after the other."""
    factory = EventFactory(shards=2)
    names = [customer_in(shard, 2, "two") for shard in (0, 1)]
    for name in names:
        factory.registered(name)
    for _ in range(3):
        for name in names:
            factory.credited(name, 5)
    return records_of(factory.records)


def test_events_in_order_are_all_taken(records: list[Record]) -> None:
    reading = read(start(1), records)
    assert [event.sequence for event in reading.events] == [1, 2, 3, 4, 5]
    assert reading.checkpoints()[0].next_offset == 5
    assert not reading.breaks


def test_an_event_is_what_its_record_says(records: list[Record]) -> None:
    reading = read(start(1), records)
    for event, record in zip(reading.events, records, strict=True):
        assert event.envelope == decode_envelope(record.value)
        assert event.fact == decode_fact(event.envelope)
        assert event.digest == digest(record.value)
    assert reading.times() == {0: decode_envelope(records[-1].value).time}


def test_the_keys_that_are_needed_are_those_of_sealed_events(records: list[Record]) -> None:
    tenant = decode_envelope(records[0].value).tenant
    assert read(start(1), records[:1]).owners() == {owner_of(tenant, "cus_1")}
    assert read(read(start(1), records[:1]).checkpoints(), records[1:]).owners() == set()


def test_repeats_are_skipped(records: list[Record]) -> None:
    reading = read(start(1), [*records[:3], *records[:2], *records[2:], records[0]])
    assert [event.sequence for event in reading.events] == [1, 2, 3, 4, 5]
    assert not read(start(1) | reading.checkpoints(), records).events


def test_the_next_offset_is_the_record_s_not_the_sequence_s(records: list[Record]) -> None:
    moved = [record._replace(offset=record.offset + 40) for record in records]
    assert read(start(1), moved).checkpoints()[0].next_offset == 45


def test_a_gap_stops_the_shard(records: list[Record]) -> None:
    reading = read(start(1), [*records[:2], *records[3:]])
    assert [event.sequence for event in reading.events] == [1, 2]
    assert reading.breaks == {0: Break(0, 3, "a gap: the next event found is 4")}


def test_nothing_is_taken_after_a_break_even_if_it_would_fit(records: list[Record]) -> None:
    reading = read(start(1), [*records[:2], records[3], records[2], records[3]])
    assert [event.sequence for event in reading.events] == [1, 2]


def test_a_break_stops_its_shard_only(both: list[Record]) -> None:
    broken = next(record for record in both if record.shard == 1)
    reading = read(start(2), [broken._replace(value=b"{"), *both])
    assert set(reading.breaks) == {1}
    assert [event.shard for event in reading.events] == [record.shard for record in both if record.shard == 0]


def test_what_is_before_a_later_break_is_kept(both: list[Record]) -> None:
    earlier = {1: Break(1, 9, "read before")}
    reading = read(start(2), both)._replace(breaks=earlier)
    found = Break(0, 2, "does not open")
    kept = reading.until(found)
    assert [event for event in kept.events if event.shard == 1] == [
        event for event in reading.events if event.shard == 1
    ]
    assert [event.sequence for event in kept.events if event.shard == 0] == [1]
    assert kept.breaks == earlier | {0: found}


def test_another_history_stops_the_shard(records: list[Record]) -> None:
    other = EventFactory("another ledger", shards=1)
    other.registered("cus_1", "somebody else")
    reading = read(read(start(1), records_of(other.records)).checkpoints(), records)
    assert not reading.events
    assert reading.breaks[0].sequence == 2
    assert (
        reading.breaks[0].reason == "the chain is broken: it names another predecessor than the one we have"
    )


def test_one_changed_byte_stops_the_shard_at_its_successor(records: list[Record]) -> None:
    changed = records[1]._replace(value=records[1].value.replace(b'"amount":5', b'"amount":6'))
    assert changed.value != records[1].value
    reading = read(start(1), [records[0], changed, records[2]])
    assert reading.breaks[0].sequence == 3


def test_the_first_event_may_have_any_genesis_but_only_the_first(records: list[Record]) -> None:
    assert not read({0: Checkpoint(0, b"", 0)}, records[:1]).breaks
    assert read({0: Checkpoint(0, b"x" * 32, 0)}, records[:1]).breaks


@pytest.mark.parametrize("poison", [b"", b"{", b"\xff\x00", b"null", b"[]", b'{"specversion":"1.0"}'])
def test_unreadable_bytes_stop_the_shard(records: list[Record], poison: bytes) -> None:
    reading = read(start(1), [records[0], Record(0, 1, poison), *records[1:]])
    assert [event.sequence for event in reading.events] == [1]
    assert reading.breaks[0].sequence == 2


def test_an_unknown_type_stops_the_shard_and_its_name_can_be_stored(records: list[Record]) -> None:
    envelope = decode_envelope(records[1].value)
    strange = encode_envelope(msgspec.structs.replace(envelope, type="wallet\x00.burnt.v1"))
    reading = read(start(1), [records[0], Record(0, 1, strange)])
    assert reading.breaks[0] == Break(0, 2, "unknown type of event: wallet.burnt.v1")


def test_an_event_of_another_shard_stops_the_shard_it_lies_in(records: list[Record]) -> None:
    reading = read(start(2), [records[0]._replace(shard=1), records[0]])
    assert reading.breaks[1].reason == "an event of shard 0 in partition 1"
    assert [event.shard for event in reading.events] == [0]


def test_positions_are_told_in_pieces_that_notify_takes() -> None:
    moved = {shard: Checkpoint(10**15 + shard, b"", 0) for shard in range(1024)}
    pieces = payloads(moved)
    assert all(len(piece) <= NOTIFY_BYTES_MAX for piece in pieces)
    assert " ".join(pieces).split() == [f"{shard}:{10**15 + shard}" for shard in range(1024)]
