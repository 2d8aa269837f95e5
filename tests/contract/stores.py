"""Where the contract of `ports.Store` is tried out: the same questions to memory and to PostgreSQL."""

from collections.abc import Sequence
from secrets import token_hex
from typing import Any, LiteralString, Protocol

import psycopg

from services.ledger.ports import ShardRow, Store
from services.ledger.store.postgres import PostgresStore
from tests.fakes.store import Conflict, MemoryDatabase, MemoryStore, SessionLost

SHARDS = 4


class StoreLab(Protocol):
    """One database, as many sessions as a test wants; what its errors are called."""

    @property
    def lost(self) -> type[Exception]: ...

    @property
    def conflict(self) -> type[Exception]: ...

    def session(self, worker: str = "") -> Store:
        """`worker`: the name under which other sessions know it; without one, some name of its own."""
        ...

    async def end_sessions(self) -> None:
        """The server ends every session at once."""
        ...

    async def move(self, shard: int, state: str = "moved") -> None:
        """The shard lives on another server now; `active`: here again."""
        ...

    async def damage(self, shard: int, sequence: int, value: bytes | None) -> None:
        """Somebody changes a stored event by hand; `None`: takes it away."""
        ...

    async def misplace(self, shard: int, sequence: int) -> None:
        """Somebody changes a receipt and its attempt by hand: they point at no event."""
        ...

    async def rows(self) -> list[ShardRow]:
        """All shard rows as committed, in order."""
        ...

    async def counts(self) -> Sequence[int]:
        """How many events, receipts and keyless attempts there are."""
        ...


class MemoryLab:
    """Implements `StoreLab`."""

    lost = SessionLost
    conflict = Conflict

    def __init__(self) -> None:
        self._database = MemoryDatabase(SHARDS)

    def session(self, worker: str = "") -> Store:
        return MemoryStore(self._database, worker=worker or token_hex(4))

    async def end_sessions(self) -> None:
        self._database.end_all()

    async def move(self, shard: int, state: str = "moved") -> None:
        self._database.moved ^= {shard}

    async def damage(self, shard: int, sequence: int, value: bytes | None) -> None:
        self._database.damage(shard, sequence, value)

    async def misplace(self, shard: int, sequence: int) -> None:
        self._database.misplace(shard, sequence)

    async def rows(self) -> list[ShardRow]:
        return list(self._database.rows.values())

    async def counts(self) -> Sequence[int]:
        database = self._database
        events = sum(len(events) for events in database.events.values())
        return events, len(database.receipts), len(database.attempts)


class PostgresLab:
    """Implements `StoreLab` on a migrated database."""

    lost = psycopg.OperationalError
    conflict = psycopg.IntegrityError

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def session(self, worker: str = "") -> Store:
        return PostgresStore(self._dsn, worker or token_hex(4))

    async def end_sessions(self) -> None:
        await self._run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async def move(self, shard: int, state: str = "moved") -> None:
        await self._run("UPDATE shards SET state = %s WHERE shard = %s RETURNING 1", state, shard)

    async def damage(self, shard: int, sequence: int, value: bytes | None) -> None:
        if value is None:
            delete = "DELETE FROM stored_events WHERE shard = %s AND sequence = %s RETURNING 1"
            await self._run(delete, shard, sequence)
        else:
            change = "UPDATE stored_events SET state = %s WHERE shard = %s AND sequence = %s RETURNING 1"
            await self._run(change, value, shard, sequence)

    async def misplace(self, shard: int, sequence: int) -> None:
        where = "SET sequence = 999 WHERE shard = %s AND sequence = %s RETURNING 1"
        await self._run(f"UPDATE receipts {where}", shard, sequence)
        await self._run(f"UPDATE keyless_attempts {where}", shard, sequence)

    async def rows(self) -> list[ShardRow]:
        found = await self._run(
            "SELECT shard, epoch, position, position_command_id, sequence, head, last_time, "
            "published_sequence, published_offset FROM shards ORDER BY shard"
        )
        return [ShardRow(*row) for row in found]

    async def counts(self) -> Sequence[int]:
        [found] = await self._run(
            "SELECT (SELECT count(*) FROM stored_events), (SELECT count(*) FROM receipts), "
            "(SELECT count(*) FROM keyless_attempts)"
        )
        return found

    async def _run(self, statement: LiteralString, *parameters: int | str | bytes) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            return await (await connection.execute(statement, parameters)).fetchall()
