"""The only SQL of the api: read models and API keys. One statement per answer, so that it is one snapshot."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from events.ids import Tenant
from events.sharding import shard_of
from services.api.auth import Caller, to_caller
from services.api.ports import CustomerFilter, CustomerRow, EntryRow, Page, ViewsUnavailable, WalletRow

CONNECTIONS = 8
_WAIT_SECONDS = 2.0
_CONNECT_SECONDS_MAX = 5
_SILENCE_SECONDS_MAX = 3.0
"""The server's own limit, and one second for the way."""

_WAITING_MAX = 2_000
OPTIONS = (
    "-c statement_timeout=2s -c timezone=UTC -c plan_cache_mode=force_generic_plan -c jit=off "
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
"""Of every connection to the read models: nothing may take longer, times are in UTC, every plan uses an index.

Left to itself the planner reads whole tables that are young or not analysed yet: 800 us where an index takes 50.
"""

_CUSTOMER = """
    SELECT p.sequence, c.customer_id, c.name, c.email, c.phone_number, c.metadata, c.preferred_locale, c.created_at,
        c.blocked_at, c.blocklist_entry_id
    FROM checkpoints p
    LEFT JOIN customers c ON c.business_id = %s AND c.mode = %s AND c.customer_id = %s
    WHERE p.shard = %s"""

_CUSTOMERS = """
    SELECT customer_id, name, email, phone_number, metadata, preferred_locale, created_at
    FROM customers
    WHERE business_id = %s AND mode = %s"""
_CUSTOMERS_NEWEST = " ORDER BY created_at DESC, customer_id DESC LIMIT %s OFFSET %s"

_WALLETS = """
    SELECT p.sequence, c.created_at, w.currency, w.balance_minor, w.updated_at
    FROM checkpoints p
    LEFT JOIN customers c ON c.business_id = %s AND c.mode = %s AND c.customer_id = %s
    LEFT JOIN wallets w ON w.business_id = c.business_id AND w.mode = c.mode AND w.customer_id = c.customer_id
    WHERE p.shard = %s"""

_ENTRIES_HEAD = """
    SELECT p.sequence, c.customer_id, e.*
    FROM checkpoints p
    LEFT JOIN customers c ON c.business_id = %s AND c.mode = %s AND c.customer_id = %s
    LEFT JOIN LATERAL (
        SELECT entry_id, currency, is_credit, amount_minor, balance_before_minor, balance_after_minor, cause,
            reference, reason, created_at
        FROM ledger_entries
        WHERE business_id = c.business_id AND mode = c.mode AND customer_id = c.customer_id"""
_ENTRIES_TAIL = """
        ORDER BY sequence DESC LIMIT %s OFFSET %s
    ) e ON true
    WHERE p.shard = %s"""
_ENTRIES = _ENTRIES_HEAD + _ENTRIES_TAIL
_ENTRIES_OF_CURRENCY = _ENTRIES_HEAD + " AND currency = %s" + _ENTRIES_TAIL

_KEY = """
    SELECT key_id, business_id, mode, scopes, expires_at FROM api_keys WHERE hash = %s AND revoked_at IS NULL"""

_CHECKPOINTS = "SELECT shard, sequence FROM checkpoints"

_FRESHNESS = """
    SELECT extract(epoch FROM clock_timestamp()), extract(epoch FROM clock_timestamp() - max(seen)) FROM projectors"""


class PostgresQueries:
    """Implements `ports.Queries` on a pool. Autocommit: a transaction per statement costs two round trips more."""

    def __init__(self, dsn: str, shards: int) -> None:
        self._dsn = dsn
        self._shards = shards
        self._pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            dsn,
            min_size=CONNECTIONS // 2,
            max_size=CONNECTIONS,
            timeout=_WAIT_SECONDS,
            max_waiting=_WAITING_MAX,
            open=False,
            kwargs={"autocommit": True, "options": OPTIONS, "connect_timeout": _CONNECT_SECONDS_MAX},
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

    async def customer(self, tenant: Tenant, customer_id: str) -> tuple[int, CustomerRow | None]:
        """See `ports.Queries`."""
        [row] = await self.run(_CUSTOMER, self._customer_key(tenant, customer_id))
        return row[0], CustomerRow._make(row[1:]) if row[1] is not None else None

    async def customers(self, tenant: Tenant, page: Page, where: CustomerFilter) -> list[CustomerRow]:
        """See `ports.Queries`."""
        statement: LiteralString = _CUSTOMERS
        values: list[object] = [tenant.business_id, tenant.mode]
        if where.email is not None:
            statement += " AND lower(email) = lower(%s)"
            values.append(where.email)
        if where.name is not None:
            statement += " AND name ILIKE %s"
            values.append(f"%{literal(where.name)}%")
        if where.created_at_gte is not None:
            statement += " AND created_at >= %s"
            values.append(where.created_at_gte)
        if where.created_at_lte is not None:
            statement += " AND created_at <= %s"
            values.append(where.created_at_lte)
        rows = await self.run(statement + _CUSTOMERS_NEWEST, [*values, page.limit, page.offset])
        return [CustomerRow(*row) for row in rows]

    async def wallets(self, tenant: Tenant, customer_id: str) -> tuple[int, datetime | None, list[WalletRow]]:
        """See `ports.Queries`."""
        rows = await self.run(_WALLETS, self._customer_key(tenant, customer_id))
        sequence, created_at = rows[0][:2]
        return sequence, created_at, [WalletRow._make(row[2:]) for row in rows if row[2] is not None]

    async def entries(
        self, tenant: Tenant, customer_id: str, page: Page, currency: str | None
    ) -> tuple[int, list[EntryRow] | None]:
        """See `ports.Queries`."""
        *who, shard = self._customer_key(tenant, customer_id)
        if currency is None:
            rows = await self.run(_ENTRIES, [*who, page.limit, page.offset, shard])
        else:
            rows = await self.run(_ENTRIES_OF_CURRENCY, [*who, currency, page.limit, page.offset, shard])
        sequence, found = rows[0][:2]
        if found is None:
            return sequence, None
        return sequence, [EntryRow._make(row[2:]) for row in rows if row[2] is not None]

    async def key(self, digest: bytes) -> Caller | None:
        """The live key of this hash, expired or not."""
        rows = await self.run(_KEY, [digest])
        return to_caller(rows[0]) if rows else None

    async def checkpoints(self) -> list[tuple[int, int]]:
        """Shard and sequence of each."""
        return await self.run(_CHECKPOINTS, [])

    async def freshness(self) -> tuple[float, float | None]:
        """The server's clock, and how many seconds ago a projector last showed itself (None: never)."""
        [(now, age)] = await self.run(_FRESHNESS, [])
        return float(now), float(age) if age is not None else None

    def _customer_key(self, tenant: Tenant, customer_id: str) -> tuple[str, str, str, int]:
        return tenant.business_id, tenant.mode, customer_id, shard_of(customer_id, self._shards)

    async def run(self, statement: LiteralString, values: Sequence[object]) -> list[Any]:
        """One statement. Repeats once: after a restart of the server every pooled connection is dead."""
        started = monotonic()
        try:
            try:
                return await self._once(statement, values)
            except psycopg.errors.QueryCanceled:
                raise
            except psycopg.OperationalError:
                if monotonic() - started > _WAIT_SECONDS:
                    raise
                await self._heal()
                return await self._once(statement, values)
        except psycopg.OperationalError as error:
            raise ViewsUnavailable(type(error).__name__) from error

    async def _once(self, statement: LiteralString, values: Sequence[object]) -> list[Any]:
        async with self._pool.connection() as connection:
            timer = asyncio.get_running_loop().call_later(_SILENCE_SECONDS_MAX, _cut, connection)
            try:
                cursor = connection.cursor(binary=True)
                await cursor.execute(statement, values)
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


def literal(text: str) -> str:
    """Text that LIKE takes as it stands."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
