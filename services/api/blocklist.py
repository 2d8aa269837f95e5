"""The blocklist's SQL, beside that of `queries`: one statement per answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, LiteralString

from events.ids import Tenant
from services.api.ports import BlocklistFilter, BlocklistRow, Page
from services.api.queries import literal

Run = Callable[[LiteralString, Sequence[object]], Awaitable[list[Any]]]

_ENTRY = """
    SELECT p.sequence, b.block_id, b.customer_id, c.name, c.email, b.identifier, b.reason, b.created_at, b.unblocked_at
    FROM blocklist_entries b
    JOIN customers c ON c.business_id = b.business_id AND c.mode = b.mode AND c.customer_id = b.customer_id
    JOIN checkpoints p ON p.shard = b.shard
    WHERE b.business_id = %s AND b.mode = %s"""
_IN_FORCE = _ENTRY + " AND b.unblocked_at IS NULL"
_NEWEST = " ORDER BY b.created_at DESC, b.block_id DESC LIMIT %s OFFSET %s"

_ADDRESSED = """
    SELECT customer_id FROM customers WHERE business_id = %s AND mode = %s AND lower(email) = lower(%s) LIMIT 2"""


class PostgresBlocklist:
    """Implements `ports.Blocklist` on the pool of `PostgresQueries`, whose `run` it is given."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def entry(self, tenant: Tenant, block_id: str) -> BlocklistRow | None:
        """See `ports.Blocklist`."""
        rows = await self._run(_ENTRY + " AND b.block_id = %s", [tenant.business_id, tenant.mode, block_id])
        return BlocklistRow._make(rows[0]) if rows else None

    async def entries(self, tenant: Tenant, page: Page, where: BlocklistFilter) -> list[BlocklistRow]:
        """See `ports.Blocklist`."""
        statement: LiteralString = _IN_FORCE
        values: list[object] = [tenant.business_id, tenant.mode]
        if where.identifier is not None:
            statement += " AND (c.email ILIKE %s OR b.customer_id ILIKE %s)"
            values += [f"%{literal(where.identifier)}%"] * 2
        if where.created_at_gte is not None:
            statement += " AND b.created_at >= %s"
            values.append(where.created_at_gte)
        if where.created_at_lte is not None:
            statement += " AND b.created_at <= %s"
            values.append(where.created_at_lte)
        rows = await self._run(statement + _NEWEST, [*values, page.limit, page.offset])
        return [BlocklistRow._make(row) for row in rows]

    async def addressed(self, tenant: Tenant, email: str) -> list[str]:
        """See `ports.Blocklist`."""
        rows = await self._run(_ADDRESSED, [tenant.business_id, tenant.mode, email])
        return [row[0] for row in rows]
