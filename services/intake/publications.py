"""How far requests to upstream are published, and which intake process does it."""

import asyncio
from collections.abc import Mapping

from services.intake.session import OPTIONS, Session

LOCK = 7_214_001
"""Advisory: who publishes requests. It is gone with the session that holds it."""
ELECTION_SECONDS = 1.0
BEAT_SECONDS = 1.0
IDLE_SECONDS_MAX = 10


class Publications(Session):
    """Where each shard is read from next, and a lock."""

    name = "wallet-ledger intake requests"
    options = f"{OPTIONS} -c idle_session_timeout={IDLE_SECONDS_MAX}s"
    """The lease is the server's: a frozen or lost process loses its session, and another one publishes."""

    _beaten = 0.0

    async def be_the_one(self) -> None:
        """Returns when no other process publishes any more."""
        while True:
            cursor = await self._session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if (row := await cursor.fetchone()) is not None and row[0]:
                return
            await asyncio.sleep(ELECTION_SECONDS)

    async def beat(self) -> None:
        """Once a second, so that the session stays.

        Raises:
            psycopg.OperationalError: it has ended, and perhaps another process publishes.
        """
        now = asyncio.get_running_loop().time()
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            await self._session.execute("SELECT")

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
