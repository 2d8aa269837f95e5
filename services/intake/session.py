"""A session with the database of read models, where intake keeps how far it is."""

from typing import ClassVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from services.sessions import KEEPALIVES

OPTIONS = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s"


class Session:
    """One connection; after an error the process ends."""

    name: ClassVar[str]
    options: ClassVar[str] = OPTIONS

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: AsyncConnection[TupleRow] | None = None

    async def open(self) -> None:
        self._connection = await AsyncConnection.connect(
            self._dsn, autocommit=True, options=self.options, application_name=self.name, **KEEPALIVES
        )

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def _session(self) -> AsyncConnection[TupleRow]:
        if self._connection is None:
            raise psycopg.OperationalError("the session is closed")
        return self._connection
