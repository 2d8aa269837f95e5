"""The event store's table through the `eventsourcing` library: its schema and reads, our own writes.

The library's `insert_events` retries on fresh pool connections, which would commit outside the session that
holds the shard; so it is replaced whole: it writes in the transaction at hand, once, and swallows nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, TupleRow, dict_row

from events.codec import decode_envelope, decode_fact
from events.envelope import Envelope
from events.facts import AnyFact
from services.ledger import statements
from services.ledger.ports import StoredRow


class OneSession(PostgresDatastore):
    """A datastore without a pool: what it hands out is the session that was elected."""

    def __init__(self, connection: Connection[TupleRow]) -> None:
        self.connection = connection
        self.originator_id_type = "uuid"
        self.schema = "public"
        self.db_type_names: set[str] = set()
        self.psycopg_python_types: dict[str, Any] = {}

    def register_type_adapters(self) -> None:
        """None: composite types belong to the library's writes, which are replaced."""

    @contextmanager
    def get_connection(self) -> Iterator[Connection[DictRow]]:
        connection: Connection[Any] = self.connection
        factory = connection.row_factory
        connection.row_factory = dict_row
        try:
            yield connection
        finally:
            connection.row_factory = factory

    def close(self) -> None:
        """The store owns the session."""

    def __del__(self) -> None:
        """Nothing to release."""


class StreamRecorder(PostgresAggregateRecorder):
    """`stored_events` with our columns shard and sequence, on one session; `select_events` is the library's."""

    def __init__(self, connection: Connection[TupleRow]) -> None:
        super().__init__(OneSession(connection))
        self._session = connection

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        """Insert into the transaction at hand; `places` gives each event's (shard, sequence).

        Raises:
            psycopg.Error: as PostgreSQL says it, in a pipeline at its next synchronisation.
        """
        places: Sequence[tuple[int, int]] = kwargs["places"]
        rows = [
            (event.originator_id, event.originator_version, event.topic, event.state, shard, sequence)
            for event, (shard, sequence) in zip(stored_events, places, strict=True)
        ]
        self._session.execute(statements.INSERT_EVENTS, [list(column) for column in zip(*rows, strict=True)])

    def select_shard(self, shard: int, after: int, limit: int) -> list[StoredRow]:
        """Events of a shard in order of sequence."""
        rows = self._session.execute(statements.EVENTS_AFTER, [shard, after, limit], binary=True).fetchall()
        return [
            StoredRow(stream, version, kind, value, shard, sequence, decode_envelope(value).subject.encode())
            for stream, version, kind, value, shard, sequence in rows
        ]


class EventMapper(Mapper[UUID]):
    """Events <-> stored events: the topic is our stable type name, the state the very bytes that are published."""

    def __init__(self) -> None:
        """No transcoder, cipher or compressor: they would change the bytes."""

    def stored(self, row: StoredRow) -> StoredEvent:
        """A decided event in the library's form."""
        return StoredEvent(row.stream, row.version, row.type, row.value)

    def recorded(self, stored_event: StoredEvent) -> tuple[Envelope, AnyFact]:
        """Raises events.codec.Malformed where the library would resolve a Python path."""
        envelope = decode_envelope(stored_event.state)
        assert stored_event.originator_id == envelope.place
        return envelope, decode_fact(envelope)
