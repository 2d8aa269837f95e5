"""The event store's table through the `eventsourcing` library: its schema and reads, our own writes.

The library's `insert_events` retries on fresh pool connections, which would commit outside the session that
holds the shard; so it is replaced whole, and only `PostgresStore.commit` writes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from uuid import UUID

from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from events.codec import decode_envelope, decode_fact
from events.envelope import Envelope
from events.facts import CustomerFact
from events.ids import stream_id


class OneConnection(PostgresDatastore):
    """A datastore without a pool: what it hands out is the session that was elected."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection
        self.originator_id_type = "uuid"
        self.schema = "public"
        self.db_type_names: set[str] = set()
        self.psycopg_python_types: dict[str, Any] = {}

    def register_type_adapters(self) -> None:
        """None: composite types belong to the library's writes, which we do not use."""

    @contextmanager
    def get_connection(self) -> Iterator[Connection[DictRow]]:
        factory = self.connection.row_factory
        self.connection.row_factory = dict_row
        try:
            yield self.connection
        finally:
            self.connection.row_factory = factory

    def close(self) -> None:
        """The store owns the connection."""

    def __del__(self) -> None:
        """Nothing to release."""


class StreamRecorder(PostgresAggregateRecorder):
    """Reads single streams; for auditors' tools and tests of the schema against the library."""

    def __init__(self, connection: Connection[Any]) -> None:
        super().__init__(OneConnection(connection))

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> NoReturn:
        """Raises always: writes go through the fence of `PostgresStore.commit`."""
        raise NotImplementedError("events are written by PostgresStore.commit only")


class EventMapper(Mapper[UUID]):
    """Envelopes <-> stored events: the topic is our stable type name and the state the published bytes."""

    def __init__(self) -> None:
        """No transcoder, cipher or compressor: what is stored is what was published."""

    def stored(self, envelope: Envelope, value: bytes) -> StoredEvent:
        stream = stream_id(envelope.tenant, envelope.stream)
        return StoredEvent(stream, envelope.streamversion, envelope.type, value)

    def recorded(self, stored_event: StoredEvent) -> tuple[Envelope, CustomerFact]:
        envelope = decode_envelope(stored_event.state)
        return envelope, decode_fact(envelope)
