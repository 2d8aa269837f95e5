"""Statements on the read models: a pool, its limits, and what happens when the server is slow, frozen or gone."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg_pool import AsyncConnectionPool

from services.api.lookups import Counted
from services.api.ports import ViewsTooSlow, ViewsUnavailable
from services.api.queries.wall import Statement

_WAIT_SECONDS = 2.0
_CONNECT_SECONDS_MAX = 5
_SILENCE_SECONDS_MAX = 3.0
"""The server's own limit, and one second for the way."""

_WAITING_MAX = 2_000
_INDEXES_ONLY = (
    "-c statement_timeout=2s -c timezone=UTC -c jit=off -c max_parallel_workers_per_gather=0 "
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
KEYED = f"{_INDEXES_ONLY} -c plan_cache_mode=force_generic_plan"
"""Of reads by key: nothing may take longer, times are in UTC, every plan uses an index.

Left to itself the planner reads whole tables that are young or not analysed yet: 800 us where an index takes 50.
"""
SEARCHED = f"{_INDEXES_ONLY} -c plan_cache_mode=force_custom_plan"
"""Of lookups: which index is best depends on the values."""


class Reader:
    """One pool. Autocommit: a transaction per statement costs two round trips more."""

    def __init__(self, dsn: str, options: str, connections: int) -> None:
        self._dsn = dsn
        self._too_slow = ViewsTooSlow if options == SEARCHED else ViewsUnavailable
        """Of a read by key it is the server that is slow, and nothing that the caller asked for."""
        self._pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            dsn,
            min_size=connections // 2,
            max_size=connections,
            timeout=_WAIT_SECONDS,
            max_waiting=_WAITING_MAX,
            open=False,
            kwargs={
                "autocommit": True,
                "options": options,
                "connect_timeout": _CONNECT_SECONDS_MAX,
                "cursor_factory": AsyncRawCursor,
            },
        )
        self._healing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """
        Raises:
            OperationalError: the server cannot be reached; the pool itself would try for long and not say why.
        """
        options: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS_MAX}
        async with await AsyncConnection.connect(self._dsn, **options):
            pass
        await self._pool.open(wait=True, timeout=10)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """One statement. Repeats once: after a restart of the server every pooled connection is dead.

        Raises:
            ViewsTooSlow: a lookup took longer than it may.
            ViewsUnavailable: the server does not answer in time.
        """
        started = monotonic()
        try:
            try:
                return await self._once(statement, values)
            except psycopg.OperationalError as error:
                if isinstance(error, psycopg.errors.QueryCanceled) or monotonic() - started > _WAIT_SECONDS:
                    raise
                await self._heal()
                return await self._once(statement, values)
        except psycopg.errors.QueryCanceled as error:
            raise self._too_slow(type(error).__name__) from error
        except psycopg.OperationalError as error:
            raise ViewsUnavailable(type(error).__name__) from error

    async def counted(
        self, statement: Statement, values: Mapping[str, Any], largest: int | None
    ) -> Counted | None:
        """One number, of which more than `largest` only says that there is more. None: it took too long."""
        try:
            [(count,)] = await self.run(statement, values)
        except ViewsTooSlow:
            return None
        if largest is not None and count > largest:
            return Counted(largest, exact=False)
        return Counted(count, exact=True)

    async def _once(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        async with self._pool.connection() as connection:
            timer = asyncio.get_running_loop().call_later(_SILENCE_SECONDS_MAX, _cut, connection)
            try:
                cursor = connection.cursor(binary=True)
                await cursor.execute(statement.query, [values[name] for name in statement.names])
                return await cursor.fetchall()
            finally:
                timer.cancel()

    async def _heal(self) -> None:
        """Throw dead connections out; many requests find them at the same time, one looks."""
        if self._healing is None or self._healing.done():
            self._healing = asyncio.get_running_loop().create_task(self._pool.check())
        await asyncio.wait({self._healing}, timeout=_WAIT_SECONDS)


def _cut(connection: AsyncConnection[tuple[Any, ...]]) -> None:
    """End a connection whose server is silent: it may be frozen, and psycopg would wait for it half a minute."""
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as cut,
    ):
        cut.shutdown(socket.SHUT_RDWR)
