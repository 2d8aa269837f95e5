"""Events into rows and checkpoints in one transaction, each event exactly once, whoever brings the records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, LiteralString, NamedTuple

import psycopg
from psycopg import errors, sql

from services.keyring import KeyRing
from services.projections.chain import Break, Checkpoint, Reading, read
from services.projections.read_models import (
    accounts,
    blocklist,
    customers,
    erasures,
    ledger_entries,
    requests,
    tallies,
    told,
    wallets,
)
from services.projections.unsealing import unsealed
from services.reading import Record
from services.sessions import KEEPALIVES

PROJECTIONS = (
    customers.project,
    blocklist.project,
    wallets.project,
    ledger_entries.project,
    accounts.project,
    tallies.project,
    told.project,
    requests.project,
)

ATTEMPTS_MAX = 3

# Asynchronous commit is safe here: checkpoints and rows are lost or kept together, and what is lost is read again.
# In UTC, because elsewhere a time of the first or last day that Python knows would lie beyond it.
# The timeouts end the transaction of a twin that froze in it, so that its successor is not kept waiting.
SESSION = (
    "-c synchronous_commit=off -c idle_in_transaction_session_timeout=5s -c statement_timeout=20s "
    "-c lock_timeout=10s -c timezone=UTC"
)
TRANSACTION_TIMEOUT_SINCE = 170_000
"""The other timeouts do not count between the statements of a pipeline."""


class CheckpointMoved(Exception):
    """Another projector wrote since this one looked; nothing of the transaction remains."""


class ChainBroken(Exception):
    """What came before the breaks is applied; the shards cannot go on. The driver ends the process and seeks again."""

    def __init__(self, breaks: Iterable[Break]) -> None:
        self.breaks = list(breaks)
        super().__init__(self.breaks)  # not the words: a loading process sends it to its parent

    def __str__(self) -> str:
        """Each break."""
        return "; ".join(f"shard {b.shard} at {b.sequence}: {b.reason}" for b in self.breaks)


class Applied(NamedTuple):
    """What a batch did."""

    events: int
    newest: dict[int, str]
    """Time of the last event applied, by shard."""


MOVE = """
    SELECT move_checkpoints(%s::int[], %s::bigint[], %s::bytea[], %s::bigint[], %s::bytea[], %s::bigint[],
                            %s::timestamptz[])
"""


class Applier:
    """Call `load` before the first `apply`, and whenever the records will come from the checkpoints again."""

    options: ClassVar[str] = SESSION
    """Of the session: `search_path` says whose tables are written."""
    transaction_timeout: ClassVar[str] = "20s"
    brackets: tuple[LiteralString, LiteralString] = ("BEGIN", "COMMIT")
    forgets = True
    """Whether an erasure empties rows at once; else `erasures.forget_all` does, before anybody reads them."""

    def __init__(self, dsn: str, keys: KeyRing) -> None:
        self._dsn = dsn
        self._keys = keys
        self._connection: psycopg.Connection | None = None
        self._seen: dict[int, Checkpoint] = {}
        self.progressed: Callable[[], None] = lambda: None
        """Told of each step of what may take long."""
        self.forgot: Callable[[], None] = lambda: None
        """Told when somebody's rows were emptied."""

    def load(self) -> dict[int, Checkpoint]:
        """Read the checkpoints of all shards afresh: where records have to come from."""
        self._seen = self._checkpoints()
        return dict(self._seen)

    def apply(self, records: Sequence[Record]) -> Applied:
        """Apply those that come next, in one transaction; repeats change nothing.

        Raises:
            ChainBroken: a shard cannot go on.
            CheckpointMoved: another projector keeps writing first.
            psycopg.Error: the database is gone; the batch may be given again after `reset`.
        """
        reading = self._settled(records)
        if reading.breaks:
            raise ChainBroken(reading.breaks.values())
        return Applied(len(reading.events), reading.times())

    def reset(self) -> None:
        """After a database error: what was written is unknown, so forget everything."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._keys.forget()

    def connection(self) -> psycopg.Connection:
        """The one connection, made on first use; autocommit outside of `apply`."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                application_name="wallet-ledger projections",
                options=self.options,
                **KEEPALIVES,
            )
            if self._connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
                self._connection.execute(
                    sql.SQL("SET transaction_timeout = {}").format(self.transaction_timeout)
                )
        return self._connection

    def _checkpoints(self) -> dict[int, Checkpoint]:
        rows = self.connection().execute("SELECT shard, sequence, head, next_offset FROM checkpoints")
        return {shard: Checkpoint(sequence, head, offset) for shard, sequence, head, offset in rows}

    def _settled(self, records: Sequence[Record]) -> Reading:
        """Written, with whatever the database will not take as a break."""
        for _ in range(ATTEMPTS_MAX):
            reading = unsealed(self._keys, read(self._seen, records))
            try:
                self._write(reading)
            except CheckpointMoved:
                self.load()
            except (errors.DataError, errors.IntegrityError):
                return self._written_singly(reading)
            else:
                return reading
        raise CheckpointMoved(f"{ATTEMPTS_MAX} times in a row")

    def _written_singly(self, reading: Reading) -> Reading:
        """Find the events that the database refuses; all before them are written."""
        for event in reading.events:
            if event.shard in reading.breaks and event.sequence >= reading.breaks[event.shard].sequence:
                continue
            try:
                self._write(Reading([event], {}))
            except (errors.DataError, errors.IntegrityError) as error:
                reason = f"the database refuses it: {type(error).__name__}"
                reading = reading.until(Break(event.shard, event.sequence, reason))
        return reading

    def _write(self, reading: Reading) -> None:
        """Checkpoints first, so that a paused twin cannot write last; then rows; then who waits is told.

        All in one round trip: on a busy machine each costs more than the statements do.
        """
        if not reading.events:
            return
        connection = self.connection()
        moved = reading.checkpoints()
        erased = erasures.erased(reading.events)
        if self.forgets:
            erasures.forget_early(connection, erased, self.progressed)
        try:
            with connection.pipeline():
                connection.execute(self.brackets[0])
                connection.execute(MOVE, self._moves(reading, moved))
                for project in PROJECTIONS:
                    for query, rows in project(reading.events):
                        connection.execute(query, [rows])
                for query, rows in erasures.forgetting(erased) if self.forgets else ():
                    connection.execute(query, [rows])
                self._announce(connection, moved)
                connection.execute(self.brackets[1])
        except errors.SerializationFailure as error:
            connection.rollback()
            raise CheckpointMoved from error
        except (errors.DataError, errors.IntegrityError):
            connection.rollback()
            raise
        self._seen |= moved
        self._keys.drop(erasures.owners(erased))
        self._committed(moved)
        if erased:
            self.forgot()

    def _announce(self, connection: psycopg.Connection, moved: Mapping[int, Checkpoint]) -> None:
        """What else belongs into the transaction; nobody waits for tables that nobody reads yet."""

    def _committed(self, moved: Mapping[int, Checkpoint]) -> None:
        """What is to be remembered of the transaction."""

    def _moves(self, reading: Reading, moved: Mapping[int, Checkpoint]) -> list[Sequence[object]]:
        times = reading.times()
        seen = [self._seen[shard] for shard in moved]
        return [
            list(moved),
            [checkpoint.sequence for checkpoint in seen],
            [checkpoint.head for checkpoint in seen],
            [checkpoint.sequence for checkpoint in moved.values()],
            [checkpoint.head for checkpoint in moved.values()],
            [checkpoint.next_offset for checkpoint in moved.values()],
            [times[shard] for shard in moved],
        ]
