"""The event store on one PostgreSQL session: fence, loads, and one transaction per batch; election stands apart."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from services.ledger.batches.receipts import ReceiptKey
from services.ledger.batches.snapshots import Snapshot
from services.ledger.failures import KnownKey, OwnershipLost, Unstorable, WrongStore
from services.ledger.ports import Attempt, Commit, Loaded, Peers, ShardRow, StoredRow
from services.ledger.store import statements
from services.ledger.store.election import Election
from services.ledger.store.loads import Loads
from services.ledger.store.recorder import StreamRecorder
from services.sessions import KEEPALIVES, columns

T = TypeVar("T")

SESSION = {
    "idle_session_timeout": "4s",
    "idle_in_transaction_session_timeout": "3s",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "synchronous_commit": "on",
}
"""The lease is the server's: a frozen, cut-off or dead worker loses its session, and with it its shards."""

TRANSACTION_SECONDS = 5
"""A worker frozen within a request is in no idle state that the other timeouts would end."""
TRANSACTION_TIMEOUT_SINCE = 170_000

_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Every statement of this session looks keys up. Left to itself the planner reads whole young tables instead."""

_CHECKED = {
    "idle_session_timeout": "4s",
    "idle_in_transaction_session_timeout": "3s",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


class PostgresStore:
    """Implements `ports.Store`. One connection, one thread: psycopg's calls block, the loop does not."""

    def __init__(self, dsn: str, worker: str) -> None:
        self._dsn = dsn
        self._worker = worker
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._connection: Connection[TupleRow] | None = None
        self._recorder: StreamRecorder
        self._election: Election
        self._loads: Loads

    async def open(self) -> None:
        await self._run(self._open)

    async def close(self) -> None:
        await self._run(self._close)

    async def claim(self, shards: Sequence[int], most: int) -> list[ShardRow]:
        return await self._run(lambda: self._election.claim(shards, most))

    async def release(self, rows: Sequence[ShardRow]) -> None:
        await self._run(lambda: self._election.release(rows))

    async def heartbeat(self, rows: Sequence[ShardRow], refused: Collection[int], forget_before: int) -> int:
        return await self._run(lambda: self._election.heartbeat(rows, refused, forget_before))

    async def peers(self) -> Peers:
        return await self._run(lambda: self._election.peers())

    async def leave(self) -> None:
        await self._run(lambda: self._election.leave())

    async def load(
        self, streams: Sequence[UUID], keys: Sequence[ReceiptKey], attempts: Sequence[Attempt], since: int
    ) -> Loaded:
        return await self._run(lambda: self._loads.load(streams, keys, attempts, since))

    async def histories(
        self, starts: Mapping[UUID, int], limit: int, take: Callable[[UUID, int, bytes], None]
    ) -> int:
        return await self._run(lambda: self._loads.histories(starts, limit, take))

    async def keep(self, snapshots: Sequence[Snapshot]) -> None:
        await self._run(lambda: self._loads.keep(snapshots))

    async def commit(self, commit: Commit) -> None:
        await self._run(lambda: self._commit(commit))

    async def events_after(self, shard: int, sequence: int, limit: int) -> list[StoredRow]:
        return await self._run(lambda: self._recorder.select_shard(shard, sequence, limit))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @property
    def _session(self) -> Connection[TupleRow]:
        if self._connection is None:
            raise psycopg.OperationalError("the store's session is closed")
        return self._connection

    def _open(self) -> None:
        self._close()
        options = " ".join(f"-c {name}={value}" for name, value in (SESSION | _PLANS).items())
        connection = psycopg.connect(
            self._dsn, autocommit=True, options=options, application_name="wallet-ledger", **KEEPALIVES
        )
        connection.prepare_threshold = 2
        self._connection = connection
        self._recorder = StreamRecorder(connection)
        self._election = Election(connection, self._worker)
        self._loads = Loads(connection)
        if connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            connection.execute(f"SET transaction_timeout = '{TRANSACTION_SECONDS}s'")
        for name, wanted in _CHECKED.items():
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            if row is None or row[0] != wanted:
                raise WrongStore(
                    f"PostgreSQL of WALLET_LEDGER_STORE_DSN has {name} = {row and row[0]}; the ledger needs {wanted}"
                )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, commit: Commit) -> None:
        """One statement, so one round trip and one transaction: PostgreSQL commits it before it answers."""
        events = [
            (row.stream, row.version, row.type, row.value, row.shard, row.sequence) for row in commit.events
        ]
        parameters = [
            *_fence_parameters(commit),
            *columns(events, 6),
            *columns(commit.receipts, 8),
            *columns(commit.attempts, 7),
        ]
        try:
            self._session.execute(statements.COMMIT_BATCH, parameters, prepare=True)
        except psycopg.DataError as error:
            raise Unstorable(type(error).__name__) from error
        except UniqueViolation as error:
            if (error.diag.table_name or "").startswith("receipts"):
                raise KnownKey from error
            raise
        except psycopg.DatabaseError as error:
            if error.sqlstate == statements.SHARDS_MOVED:
                raise OwnershipLost(error.diag.message_primary) from error
            raise


def _fence_parameters(commit: Commit) -> list[list[Any]]:
    before = [(row.shard, row.epoch, row.position, row.sequence, row.head) for row in commit.before]
    after = [
        (
            row.position,
            row.position_command_id,
            row.sequence,
            row.head,
            row.last_time,
            row.published_sequence,
            row.published_offset,
        )
        for row in commit.after
    ]
    return columns([(*old, *new) for old, new in zip(before, after, strict=True)], 12)
