"""The read models, as SQLAlchemy Core tables: columns and keys for digests, verify and rebuild. Migrations make them."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

STATUS = "CASE WHEN closed_at IS NOT NULL THEN 'closed' WHEN blocked_at IS NOT NULL THEN 'blocked' ELSE 'active' END"

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("event_time", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

projectors = Table(
    "projectors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seen", DateTime(timezone=True), nullable=False),
)

chain_breaks = Table(
    "chain_breaks",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)

SEARCH = r"fold_text(name) || E'\n' || fold_text(email) || E'\n' || lower(customer_id)"
"""Parts apart by what no word of a search holds."""

customers = Table(
    "customers",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("phone_number", Text),
    Column("metadata", JSONB, nullable=False),
    Column("preferred_locale", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("blocked_at", DateTime(timezone=True)),
    Column("blocklist_entry_id", Text),
    Column("closed_at", DateTime(timezone=True)),
    Column("erased_at", DateTime(timezone=True)),
    Column("status", Text, Computed(STATUS), nullable=False),
    Column("search", Text, Computed(SEARCH), nullable=False),
    Column("name_key", Text, Computed("left(fold_text(name), 64)"), nullable=False),
)

blocklist_entries = Table(
    "blocklist_entries",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("block_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("unblocked_at", DateTime(timezone=True)),
)

wallets = Table(
    "wallets",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("balance_minor", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("business_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("is_credit", Boolean, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("balance_before_minor", BigInteger, nullable=False),
    Column("balance_after_minor", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("counter_account", Text, nullable=False),
    Column("reference", Text),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
)


def _newest(name: str, key: str, *own: Column[Any]) -> Table:
    """A row for each object and customer: see `newest`."""
    return Table(
        name,
        metadata,
        Column("business_id", Text, primary_key=True),
        Column("mode", Text, primary_key=True),
        Column(key, Text, primary_key=True),
        Column("customer_id", Text, primary_key=True),
        Column("shard", Integer, nullable=False),
        Column("stamp", Text, nullable=False),
        *own,
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("updated_at", DateTime(timezone=True), nullable=False),
        Column("known", JSONB, nullable=False),
        Column("object", JSONB, nullable=False),
    )


payments = _newest(
    "payments",
    "payment_id",
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_amount_minor", BigInteger, nullable=False),
    Column("subscription_id", Text),
    Column("brand_id", Text, nullable=False),
    Column("product_ids", ARRAY(Text), nullable=False),
)

refunds = _newest(
    "refunds",
    "refund_id",
    Column("payment_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
)

disputes = _newest(
    "disputes",
    "dispute_id",
    Column("payment_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency", Text),
)

subscriptions = _newest(
    "subscriptions",
    "subscription_id",
    Column("status", Text, nullable=False),
    Column("product_id", Text),
    Column("brand_id", Text, nullable=False),
    Column("currency", Text),
    Column("recurring_pre_tax_amount_minor", BigInteger),
    Column("cancel_at_next_billing_date", Boolean, nullable=False),
    Column("next_billing_at", DateTime(timezone=True)),
)

licence_keys = _newest(
    "licence_keys",
    "licence_key_id",
    Column("status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("product_id", Text),
)

licence_key_instances = Table(
    "licence_key_instances",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("licence_key_id", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("name", Text, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("object_id", Text),
    Column("currency", Text),
    Column("amount_minor", BigInteger),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("customers", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("business_id", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("balance_minor", Numeric(38, 0), nullable=False),
)

BOOKKEEPING = (checkpoints, projectors, chain_breaks)
READ_MODELS = tuple(table for table in metadata.sorted_tables if table not in BOOKKEEPING)
"""What projections make of events, and a rebuild makes again."""
