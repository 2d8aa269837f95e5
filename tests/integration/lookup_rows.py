"""Rows of read models for tests of lookups: a few by hand, or thousands made by the server."""

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

from events.ids import Tenant
from events.sharding import shard_of

SHARDS = 4
MINE = Tenant("bus_mine", "test")
LIVE = Tenant("bus_mine", "live")
OTHER = Tenant("bus_other", "test")
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


class Rows:
    """Writes rows as the projections would."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._sequences = [0] * SHARDS

    def customer(
        self, customer_id: str, minute: float, name: str = "Ana", tenant: Tenant = MINE, metadata: str = "{}"
    ) -> None:
        self._connection.execute(
            "INSERT INTO customers (business_id, mode, customer_id, shard, name, email, metadata, created_at, "
            "updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                tenant.business_id, tenant.mode, customer_id, shard_of(customer_id, SHARDS), name,
                f"{customer_id}@Example.com", metadata, *[at(minute)] * 2,
            ],
        )  # fmt: skip
        self._tally(tenant, customer_id, customers=1)

    def entry(
        self, customer_id: str, minute: float, amount: int = 5, *, currency: str = "USD", tenant: Tenant = MINE,
        cause: str = "adjustment", reference: str | None = None, reason: str | None = None, credit: bool = True,
    ) -> str:  # fmt: skip
        shard = shard_of(customer_id, SHARDS)
        self._sequences[shard] += 1
        entry_id = f"wle_{tenant.business_id}_{shard}_{self._sequences[shard]}"
        self._connection.execute(
            "INSERT INTO ledger_entries (shard, sequence, business_id, mode, customer_id, entry_id, currency, "
            "is_credit, amount_minor, balance_before_minor, balance_after_minor, cause, counter_account, reference, "
            "reason, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, 'x', %s, %s, %s)",
            [
                shard, self._sequences[shard], tenant.business_id, tenant.mode, customer_id, entry_id, currency,
                credit, amount, amount, cause, reference, reason, at(minute),
            ],
        )  # fmt: skip
        self.balance(customer_id, amount, currency, tenant, minute)
        self._tally(tenant, customer_id, entries=1)
        return entry_id

    def balance(
        self, customer_id: str, balance: int, currency: str = "USD", tenant: Tenant = MINE, minute: float = 0
    ) -> None:
        self._connection.execute(
            "INSERT INTO wallets (business_id, mode, customer_id, currency, balance_minor, shard, sequence, updated_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, 1, %s) "
            "ON CONFLICT (business_id, mode, customer_id, currency) DO UPDATE SET balance_minor = excluded.balance_minor, "
            "updated_at = excluded.updated_at",
            [tenant.business_id, tenant.mode, customer_id, currency, balance, shard_of(customer_id, SHARDS), at(minute)],
        )  # fmt: skip

    def block(self, customer_id: str, tenant: Tenant = MINE) -> None:
        self._connection.execute(
            "UPDATE customers SET blocked_at = now(), blocklist_entry_id = %s "
            "WHERE business_id = %s AND mode = %s AND customer_id = %s",
            [f"blk_{customer_id}", tenant.business_id, tenant.mode, customer_id],
        )
        self._connection.execute(
            "INSERT INTO blocklist_entries (business_id, mode, block_id, customer_id, shard, identifier, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, now())",
            [
                tenant.business_id, tenant.mode, f"blk_{customer_id}", customer_id, shard_of(customer_id, SHARDS),
                customer_id,
            ],
        )  # fmt: skip

    def told(self, table: str, key: str, identifier: str, tenant: Tenant = MINE, **own: object) -> None:
        """Of customer `cus_<business>_0`."""
        customer = f"cus_{tenant.business_id}_0"
        columns: dict[str, object] = {
            "business_id": tenant.business_id, "mode": tenant.mode, key: identifier, "customer_id": customer,
            "shard": shard_of(customer, SHARDS), "created_at": START, **own,
        }  # fmt: skip
        if table != "licence_key_instances":
            columns |= {"stamp": "1", "updated_at": START, "known": "{}", "object": "{}"}
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        values = sql.SQL(", ").join(sql.Placeholder() * len(columns))
        insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, values)
        self._connection.execute(insert, list(columns.values()))

    def business(self, tenant: Tenant = MINE) -> None:
        """One of each that upstream tells of, under the same names for every tenant."""
        money = {"currency": "USD", "status": "succeeded"}
        more = {
            "total_amount_minor": 5,
            "brand_id": "brd",
            "product_ids": ["pdt"],
            "subscription_id": "sub_1",
        }
        self.told("payments", "payment_id", "pay_1", tenant, **money, **more)
        self.told("refunds", "refund_id", "ref_1", tenant, **money, payment_id="pay_1", amount_minor=2)
        self.told("disputes", "dispute_id", "dp_1", tenant, **money, payment_id="pay_1", stage="dispute")
        plan = {"status": "active", "brand_id": "brd", "cancel_at_next_billing_date": False}
        self.told("subscriptions", "subscription_id", "sub_1", tenant, **plan)
        self.told("licence_keys", "licence_key_id", "lic_1", tenant, status="active", source="auto")
        self.told("licence_key_instances", "instance_id", "lki_1", tenant, licence_key_id="lic_1", name="n")

    def _tally(self, tenant: Tenant, customer_id: str, customers: int = 0, entries: int = 0) -> None:
        self._connection.execute(
            "INSERT INTO tallies AS t VALUES (%s, %s, %s, %s, %s) ON CONFLICT (business_id, mode, shard) "
            "DO UPDATE SET customers = t.customers + excluded.customers, entries = t.entries + excluded.entries",
            [shard_of(customer_id, SHARDS), tenant.business_id, tenant.mode, customers, entries],
        )

    def many(self, customers: int, entries_each: int, tenant: Tenant = MINE) -> None:
        """Made in the server: names repeat, one in a thousand is unlike the others."""
        who = [tenant.business_id, tenant.mode]
        self._connection.execute(
            "INSERT INTO customers (business_id, mode, customer_id, shard, name, email, metadata, created_at, updated_at) "
            "SELECT %s, %s, 'cus_' || md5(g::text), g %% 4, CASE WHEN g %% 1000 = 0 THEN 'Zebedee ' || g "
            "ELSE 'Nguyễn Văn ' || g END, 'p' || g || '@example.com', jsonb_build_object('number', g), "
            "timestamptz '2026-01-01' + g * interval '1 minute', now() FROM generate_series(1, %s) g",
            [*who, customers],
        )
        self._connection.execute(
            "INSERT INTO wallets SELECT business_id, mode, customer_id, 'USD', hashtext(customer_id) & 65535, shard, 1, "
            "created_at FROM customers WHERE business_id = %s AND mode = %s",
            who,
        )
        self._connection.execute(
            "INSERT INTO ledger_entries SELECT shard, 1000 + row_number() OVER (PARTITION BY shard ORDER BY created_at), "
            "business_id, mode, customer_id, 'wle_' || md5(customer_id || k), 'USD', true, k, 0, k, 'adjustment', 'x', "
            "CASE WHEN k = 1 THEN 'ord_' || customer_id END, NULL, created_at + k * interval '1 second' "
            "FROM customers, generate_series(1, %s) k WHERE business_id = %s AND mode = %s",
            [entries_each, *who],
        )
        self._connection.execute("ANALYZE customers; ANALYZE wallets; ANALYZE ledger_entries")

    def close(self) -> None:
        self._connection.close()
