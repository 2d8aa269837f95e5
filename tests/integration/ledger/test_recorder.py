"""The event table as the `eventsourcing` library knows it."""

from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from sqlalchemy import make_url

from events.codec import decode_envelope
from events.facts import WalletCredited
from events.ids import stream_id
from services.ledger.ports import StoredRow
from services.ledger.recorder import EventMapper, StreamRecorder
from services.migrate import migrate_database
from tests.factories import EventFactory


def test_the_librarys_own_recorder_reads_what_ours_wrote(database: Callable[[str], str]) -> None:
    dsn = database("recorder")
    migrate_database("store", dsn, 4)
    stream = uuid4()
    events = [StoredEvent(stream, version, "wallet.credited.v1", b"x%d" % version) for version in (1, 2, 3)]
    with psycopg.connect(dsn) as connection:
        StreamRecorder(connection).insert_events(events, places=[(0, 1), (0, 2), (0, 3)])
    url = make_url(dsn)
    with PostgresDatastore(url.database, url.host, str(url.port), url.username, url.password) as datastore:
        found = PostgresAggregateRecorder(datastore, events_table_name="stored_events").select_events(
            stream, gt=1
        )
    assert list(found) == events[1:]


def test_ours_reads_through_the_librarys_select(database: Callable[[str], str]) -> None:
    dsn = database("recorder")
    migrate_database("store", dsn, 4)
    stream = uuid4()
    event = StoredEvent(stream, 1, "wallet.credited.v1", b"bytes")
    with psycopg.connect(dsn) as connection:
        recorder = StreamRecorder(connection)
        recorder.insert_events([event], places=[(2, 1)])
        assert list(recorder.select_events(stream)) == [event]
        assert recorder.select_events(uuid4()) == []


def test_a_second_event_of_the_same_version_is_refused_at_once(database: Callable[[str], str]) -> None:
    dsn = database("recorder")
    migrate_database("store", dsn, 4)
    event = StoredEvent(uuid4(), 1, "wallet.credited.v1", b"bytes")
    with psycopg.connect(dsn) as connection:
        recorder = StreamRecorder(connection)
        recorder.insert_events([event], places=[(0, 1)])
        with pytest.raises(psycopg.errors.UniqueViolation):
            recorder.insert_events([event], places=[(0, 2)])


def test_the_mapper_keeps_the_published_bytes_and_names() -> None:
    mapper = EventMapper()
    factory = EventFactory()
    factory.registered("cus_a")
    record = factory.credited("cus_a", 5)
    envelope = decode_envelope(record.value)
    stream = stream_id(envelope.tenant, envelope.stream)
    row = StoredRow(stream, 2, envelope.type, record.value, record.shard, record.sequence, record.key)
    stored = mapper.stored(row)
    assert (stored.topic, stored.state) == ("wallet.credited.v1", row.value)
    recorded, fact = mapper.recorded(stored)
    assert recorded == envelope
    assert isinstance(fact, WalletCredited)
