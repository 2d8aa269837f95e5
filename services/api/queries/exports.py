"""Where exports read: a server-side cursor on connections of their own, so that they never wait in front of other reads."""

from collections.abc import AsyncGenerator
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawServerCursor
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from events.ids import Tenant
from services.api.lookups import EntryLookup, ExportsBusy, FoundEntry
from services.api.ports import ViewsTooSlow, ViewsUnavailable
from services.api.queries.entry_lookups import Query
from services.api.queries.wall import of
from services.sessions import KEEPALIVES

CONNECTIONS = 2
PIECE_ROWS = 500
_WAIT_SECONDS = 1.0
OPTIONS = (
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s -c timezone=UTC -c jit=off "
    "-c max_parallel_workers_per_gather=0 -c enable_seqscan=off -c enable_sort=off -c default_transaction_read_only=on"
)
"""Rows come in the order of an index, as they are fetched: nothing is sorted or kept."""


class PostgresExports:
    """Implements `lookups.Exports`. At most CONNECTIONS at a time, and one of a tenant; who comes later is told so."""

    def __init__(self, dsn: str) -> None:
        self._pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            dsn,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=_WAIT_SECONDS,
            max_idle=60,
            open=False,
            check=AsyncConnectionPool.check_connection,
            kwargs={"options": OPTIONS, **KEEPALIVES},
        )
        self._running: set[Tenant] = set()

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> AsyncGenerator[list[FoundEntry], None]:
        """See `lookups.Exports`."""
        if tenant in self._running:
            raise ExportsBusy
        query = Query(lookup)
        statement = query.stream()
        self._running.add(tenant)
        try:
            async with (
                self._pool.connection() as connection,
                AsyncRawServerCursor(connection, "export") as cursor,
            ):
                values = of(tenant, query.values)
                await cursor.execute(statement.query, [values[name] for name in statement.names], binary=True)
                while rows := await cursor.fetchmany(PIECE_ROWS):
                    yield [FoundEntry._make(row) for row in rows]
        except PoolTimeout as error:
            if len(self._running) > CONNECTIONS:  # with this one
                raise ExportsBusy from error
            raise ViewsUnavailable(type(error).__name__) from error
        except psycopg.errors.QueryCanceled as error:
            raise ViewsTooSlow(type(error).__name__) from error
        except psycopg.OperationalError as error:
            raise ViewsUnavailable(type(error).__name__) from error
        finally:
            self._running.discard(tenant)
