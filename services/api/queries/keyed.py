"""Reads by key, which must be fast: customers, wallets, ledger pages, API keys. One statement per answer, one snapshot."""

from datetime import datetime
from typing import Any

from events.ids import Tenant
from events.sharding import shard_of
from services.api.auth import Caller, to_caller
from services.api.ports import CustomerFilter, CustomerRow, EntryRow, Page, WalletRow
from services.api.queries.reader import KEYED, SEARCHED, Reader
from services.api.queries.wall import of, shared, walled

CONNECTIONS = 8
SEARCHING = 4

_CUSTOMER = walled("""
    SELECT p.sequence, c.customer_id, c.name, c.email, c.phone_number, c.metadata, c.preferred_locale, c.created_at,
        c.blocked_at, c.blocklist_entry_id
    FROM checkpoints p
    LEFT JOIN customers c
        ON c.business_id = %(business_id)s AND c.mode = %(mode)s AND c.customer_id = %(customer_id)s
    WHERE p.shard = %(shard)s""")

_CUSTOMERS = """
    SELECT customer_id, name, email, phone_number, metadata, preferred_locale, created_at
    FROM customers
    WHERE business_id = %(business_id)s AND mode = %(mode)s"""
_CUSTOMERS_NEWEST = " ORDER BY created_at DESC, customer_id DESC LIMIT %(limit)s OFFSET %(offset)s"
_CUSTOMERS_WHERE = {
    "email": " AND lower(email) = lower(%(email)s)",
    "name": " AND search LIKE part_pattern(%(name)s) "
    "AND (name_key LIKE part_pattern(%(name)s) OR fold_text(name) LIKE part_pattern(%(name)s))",
    "created_at_gte": " AND created_at >= %(created_at_gte)s",
    "created_at_lte": " AND created_at <= %(created_at_lte)s",
}

_WALLETS = walled("""
    SELECT p.sequence, c.created_at, w.currency, w.balance_minor, w.updated_at
    FROM checkpoints p
    LEFT JOIN customers c
        ON c.business_id = %(business_id)s AND c.mode = %(mode)s AND c.customer_id = %(customer_id)s
    LEFT JOIN wallets w ON w.business_id = c.business_id AND w.mode = c.mode AND w.customer_id = c.customer_id
    WHERE p.shard = %(shard)s""")

_ENTRIES_HEAD = """
    SELECT p.sequence, c.customer_id, e.*
    FROM checkpoints p
    LEFT JOIN customers c
        ON c.business_id = %(business_id)s AND c.mode = %(mode)s AND c.customer_id = %(customer_id)s
    LEFT JOIN LATERAL (
        SELECT entry_id, currency, is_credit, amount_minor, balance_before_minor, balance_after_minor, cause,
            reference, reason, created_at
        FROM ledger_entries
        WHERE business_id = c.business_id AND mode = c.mode AND customer_id = c.customer_id"""
_ENTRIES_TAIL = """
        ORDER BY sequence DESC LIMIT %(limit)s OFFSET %(offset)s
    ) e ON true
    WHERE p.shard = %(shard)s"""
_ENTRIES = walled(_ENTRIES_HEAD + _ENTRIES_TAIL)
_ENTRIES_OF_CURRENCY = walled(_ENTRIES_HEAD + " AND currency = %(currency)s" + _ENTRIES_TAIL)

_KEY = shared("""
    SELECT key_id, business_id, mode, scopes, expires_at FROM api_keys
    WHERE hash = %(hash)s AND revoked_at IS NULL""")

_CHECKPOINTS = shared("SELECT shard, sequence FROM checkpoints")

_FRESHNESS = shared("""
    SELECT extract(epoch FROM clock_timestamp()), extract(epoch FROM clock_timestamp() - max(seen)) FROM projectors""")


class PostgresQueries(Reader):
    """Implements `ports.Queries`."""

    def __init__(self, dsn: str, shards: int) -> None:
        super().__init__(dsn, KEYED, CONNECTIONS)
        self._shards = shards
        self.searching = Reader(dsn, SEARCHED, SEARCHING)
        """For what is not read by key: what waits there, keeps no other read waiting."""

    async def open(self) -> None:
        """See `Reader`."""
        await super().open()
        await self.searching.open()

    async def close(self) -> None:
        """See `Reader`."""
        await self.searching.close()
        await super().close()

    async def customer(self, tenant: Tenant, customer_id: str) -> tuple[int, CustomerRow | None]:
        """See `ports.Queries`."""
        [row] = await self.run(_CUSTOMER, self._values(tenant, customer_id))
        return row[0], CustomerRow._make(row[1:]) if row[1] is not None else None

    async def customers(self, tenant: Tenant, page: Page, where: CustomerFilter) -> list[CustomerRow]:
        """See `ports.Queries`."""
        given = {name: value for name, value in where._asdict().items() if value is not None}
        conditions = "".join(_CUSTOMERS_WHERE[name] for name in given)
        statement = walled(_CUSTOMERS + conditions + _CUSTOMERS_NEWEST)
        reader = self.searching if given else self
        rows = await reader.run(statement, of(tenant, {**given, **page._asdict()}))
        return [CustomerRow(*row) for row in rows]

    async def wallets(self, tenant: Tenant, customer_id: str) -> tuple[int, datetime | None, list[WalletRow]]:
        """See `ports.Queries`."""
        rows = await self.run(_WALLETS, self._values(tenant, customer_id))
        sequence, created_at = rows[0][:2]
        return sequence, created_at, [WalletRow._make(row[2:]) for row in rows if row[2] is not None]

    async def entries(
        self, tenant: Tenant, customer_id: str, page: Page, currency: str | None
    ) -> tuple[int, list[EntryRow] | None]:
        """See `ports.Queries`."""
        values = self._values(tenant, customer_id)
        values["limit"], values["offset"] = page
        if currency is None:
            rows = await self.run(_ENTRIES, values)
        else:
            rows = await self.run(_ENTRIES_OF_CURRENCY, values | {"currency": currency})
        sequence, found = rows[0][:2]
        if found is None:
            return sequence, None
        return sequence, [EntryRow._make(row[2:]) for row in rows if row[2] is not None]

    async def key(self, digest: bytes) -> Caller | None:
        """The live key of this hash, expired or not."""
        rows = await self.run(_KEY, {"hash": digest})
        return to_caller(rows[0]) if rows else None

    async def checkpoints(self) -> list[tuple[int, int]]:
        """Shard and sequence of each."""
        return await self.run(_CHECKPOINTS, {})

    async def freshness(self) -> tuple[float, float | None]:
        """The server's clock, and how many seconds ago a projector last showed itself (None: never)."""
        [(now, age)] = await self.run(_FRESHNESS, {})
        return float(now), float(age) if age is not None else None

    def _values(self, tenant: Tenant, customer_id: str) -> dict[str, Any]:
        return {
            "business_id": tenant.business_id,
            "mode": tenant.mode,
            "customer_id": customer_id,
            "shard": shard_of(customer_id, self._shards),
        }
