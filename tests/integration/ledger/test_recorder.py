"""The event table as the `eventsourcing` library knows it."""

from collections.abc import Callable

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from sqlalchemy import make_url

from services.ledger.store.postgres import PostgresStore
from services.ledger.store.recorder import StreamRecorder
from services.migrate import migrate_database
from tests.contract.transactions import transaction


async def committed(dsn: str) -> list[StoredEvent]:
    """Three events of one stream, written as all events are."""
    migrate_database("store", dsn, 4)
    store = PostgresStore(dsn, "recorder")
    await store.open()
    written = transaction(*await store.claim([2], 1), count=3)
    await store.commit(written.commit)
    await store.close()
    return [StoredEvent(row.stream, row.version, row.type, row.value) for row in written.commit.events]


async def test_the_librarys_own_recorder_reads_what_ours_wrote(database: Callable[[str], str]) -> None:
    dsn = database("recorder")
    events = await committed(dsn)
    url = make_url(dsn)
    address = (url.database, url.host, str(url.port), url.username, url.password)
    with PostgresDatastore(*(part or "" for part in address)) as datastore:
        found = PostgresAggregateRecorder(datastore, events_table_name="stored_events").select_events(
            events[0].originator_id, gt=1
        )
    assert list(found) == events[1:]


async def test_ours_reads_through_the_librarys_select_and_refuses_to_write(
    database: Callable[[str], str],
) -> None:
    dsn = database("recorder")
    events = await committed(dsn)
    with psycopg.connect(dsn) as connection:
        recorder = StreamRecorder(connection)
        assert list(recorder.select_events(events[0].originator_id)) == events
        with pytest.raises(NotImplementedError, match=r"PostgresStore\.commit"):
            recorder.insert_events(events)
