"""How far requests to upstream are published, and which intake process does it."""

import asyncio
from collections.abc import Mapping

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.intake.table import SESSION

LOCK = 7_214_001
"""Advisory: who publishes requests. It is gone with the session that holds it."""
ELECTION_SECONDS = 1.0


class Publications:
    """One connection; after an error the process ends."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncConnection[TupleRow] | None = None

    async def open(self) -> None:
        self._connection = await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            connect_timeout=5,
            options=SESSION,
            application_name="wallet-ledger intake requests",
        )

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def be_the_one(self) -> None:
        """Returns when no other process publishes any more."""
        while True:
            cursor = await self._session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if (row := await cursor.fetchone()) is not None and row[0]:
                return
            await asyncio.sleep(ELECTION_SECONDS)

    async def next_offsets(self) -> dict[int, int]:
        """Where to read each shard from; absent: from its first event."""
        cursor = await self._session.execute("SELECT shard, next_offset FROM intake_publications")
        return dict(await cursor.fetchall())

    async def keep(self, next_offsets: Mapping[int, int]) -> None:
        """Never back: a twin that froze may come late."""
        await self._session.execute(
            "INSERT INTO intake_publications AS old SELECT * FROM unnest(%s::int[], %s::bigint[]) "
            "ON CONFLICT (shard) DO UPDATE SET next_offset = greatest(old.next_offset, excluded.next_offset)",
            [list(next_offsets), list(next_offsets.values())],
        )

    @property
    def _session(self) -> AsyncConnection[TupleRow]:
        if self._connection is None:
            raise psycopg.OperationalError("the session is closed")
        return self._connection
