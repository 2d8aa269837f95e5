"""The blocklist's SQL, beside that of `keyed`: one statement per answer."""

from events.ids import Tenant
from services.api.ports import BlocklistFilter, BlocklistRow, Page
from services.api.queries.reader import Reader
from services.api.queries.wall import of, walled

_ENTRY = """
    SELECT p.sequence, b.block_id, b.customer_id, c.name, c.email, b.identifier, b.reason, b.created_at, b.unblocked_at
    FROM blocklist_entries b
    JOIN customers c ON c.business_id = b.business_id AND c.mode = b.mode AND c.customer_id = b.customer_id
    JOIN checkpoints p ON p.shard = b.shard
    WHERE b.business_id = %(business_id)s AND b.mode = %(mode)s"""
_ONE = walled(_ENTRY + " AND b.block_id = %(block_id)s")
_IN_FORCE = _ENTRY + " AND b.unblocked_at IS NULL"
_NEWEST = " ORDER BY b.created_at DESC, b.block_id DESC LIMIT %(limit)s OFFSET %(offset)s"
_WHERE = {
    "identifier": " AND (fold_text(c.email) LIKE part_pattern(%(identifier)s) "
    "OR lower(b.customer_id) LIKE part_pattern(%(identifier)s))",
    "created_at_gte": " AND b.created_at >= %(created_at_gte)s",
    "created_at_lte": " AND b.created_at <= %(created_at_lte)s",
}

_ADDRESSED = walled("""
    SELECT customer_id FROM customers
    WHERE business_id = %(business_id)s AND mode = %(mode)s AND lower(email) = lower(%(email)s) AND closed_at IS NULL
    LIMIT 2""")


class PostgresBlocklist:
    """Implements `ports.Blocklist`. `keyed` reads by key; what is filtered waits on `searching`."""

    def __init__(self, keyed: Reader, searching: Reader) -> None:
        self._keyed = keyed
        self._searching = searching

    async def entry(self, tenant: Tenant, block_id: str) -> BlocklistRow | None:
        """See `ports.Blocklist`."""
        rows = await self._keyed.run(_ONE, of(tenant, {"block_id": block_id}))
        return BlocklistRow._make(rows[0]) if rows else None

    async def entries(self, tenant: Tenant, page: Page, where: BlocklistFilter) -> list[BlocklistRow]:
        """See `ports.Blocklist`."""
        given = {name: value for name, value in where._asdict().items() if value is not None}
        statement = walled(_IN_FORCE + "".join(_WHERE[name] for name in given) + _NEWEST)
        reader = self._searching if given else self._keyed
        rows = await reader.run(statement, of(tenant, {**given, **page._asdict()}))
        return [BlocklistRow._make(row) for row in rows]

    async def addressed(self, tenant: Tenant, email: str) -> list[str]:
        """See `ports.Blocklist`."""
        rows = await self._keyed.run(_ADDRESSED, of(tenant, {"email": email}))
        return [row[0] for row in rows]
