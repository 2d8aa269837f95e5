"""The event store's table through the `eventsourcing` library, whose reads work on it; writes are the store's.

The library's `insert_events` retries on fresh pool connections, which would commit outside the session that holds the
shard. Here it refuses: events go in by `commit_batch`, with the fence before them and their receipts behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, TupleRow, dict_row

from events.codec import Malformed, decode_envelope
from services.ledger.failures import Damaged
from services.ledger.ports import StoredRow
from services.ledger.store import statements


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
        """Never.

        Raises:
            NotImplementedError: an event is true only together with its shard row and receipt.
        """
        raise NotImplementedError("events are written by PostgresStore.commit, behind the fence")

    def select_shard(self, shard: int, after: int, limit: int) -> list[StoredRow]:
        """Events of a shard in order of sequence. Raises Damaged."""
        rows = self._session.execute(statements.EVENTS_AFTER, [shard, after, limit], binary=True).fetchall()
        for expected, (*_, sequence) in enumerate(rows, after + 1):
            if sequence != expected:
                raise Damaged(expected)
        return [
            StoredRow(stream, version, kind, value, shard, sequence, _key(sequence, value))
            for stream, version, kind, value, shard, sequence in rows
        ]


def _key(sequence: int, value: bytes) -> bytes:
    try:
        return decode_envelope(value).subject.encode()
    except Malformed as error:
        raise Damaged(sequence) from error
