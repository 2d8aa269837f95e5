"""What upstream told: payments, refunds, disputes, subscriptions, licence keys and where they are activated.

And views of them for other teams, without personal data.
"""

from alembic import op

revision = "views_0007"
down_revision = "views_0006"
branch_labels = None
depends_on = None

TABLES = {
    "payments": (
        "payment_id",
        """
        status text NOT NULL,
        currency text NOT NULL,
        total_amount_minor bigint NOT NULL,
        subscription_id text,
        brand_id text NOT NULL,
        product_ids text[] NOT NULL,
        """,
    ),
    "refunds": (
        "refund_id",
        """
        payment_id text NOT NULL,
        status text NOT NULL,
        amount_minor bigint,
        currency text,
        """,
    ),
    "disputes": (
        "dispute_id",
        """
        payment_id text NOT NULL,
        status text NOT NULL,
        stage text NOT NULL,
        amount_minor bigint,
        currency text,
        """,
    ),
    "subscriptions": (
        "subscription_id",
        """
        status text NOT NULL,
        product_id text,
        brand_id text NOT NULL,
        currency text,
        recurring_pre_tax_amount_minor bigint,
        cancel_at_next_billing_date boolean NOT NULL,
        next_billing_at timestamptz,
        """,
    ),
    "licence_keys": (
        "licence_key_id",
        """
        status text NOT NULL,
        source text NOT NULL,
        product_id text,
        """,
    ),
}

_HEAD = "SELECT business_id, mode, {key}, customer_id, shard, "
_TAIL = ", created_at, updated_at FROM {table}"
VIEWS = {
    "payments": """status, currency, total_amount_minor, (known ->> 'tax')::bigint AS tax_minor,
        (known ->> 'settlement_amount')::bigint AS settlement_amount_minor,
        known ->> 'settlement_currency' AS settlement_currency, known ->> 'payment_method' AS payment_method,
        known ->> 'wallet_action' AS wallet_action, subscription_id, brand_id, product_ids""",
    "refunds": "payment_id, status, amount_minor, currency, known ->> 'wallet_action' AS wallet_action",
    "disputes": "payment_id, status, stage, amount_minor, currency",
    "subscriptions": """status, product_id, brand_id, currency, recurring_pre_tax_amount_minor,
        (known ->> 'quantity')::integer AS quantity, known ->> 'payment_frequency_interval' AS payment_frequency_interval,
        (known ->> 'payment_frequency_count')::integer AS payment_frequency_count, cancel_at_next_billing_date,
        next_billing_at""",
}


def upgrade() -> None:
    for table, (key, own) in TABLES.items():
        _newest(table, key, own)
    op.execute("""
        CREATE INDEX payments_of_subscription ON payments
        (business_id, mode, subscription_id, created_at, payment_id) WHERE subscription_id IS NOT NULL
    """)
    op.execute("CREATE INDEX payments_of_product ON payments USING gin (product_ids)")
    for table in ("payments", "refunds"):
        op.execute(f"""
            CREATE INDEX {table}_not_succeeded ON {table}
            (business_id, mode, status, created_at, {TABLES[table][0]}) WHERE status <> 'succeeded'
        """)
    for table in ("refunds", "disputes"):
        op.execute(f"CREATE INDEX {table}_of_payment ON {table} (business_id, mode, payment_id, customer_id)")
    op.execute("CREATE INDEX subscriptions_by_status ON subscriptions "
               "(business_id, mode, status, created_at, subscription_id)")  # fmt: skip
    _instances()
    for table, columns in VIEWS.items():
        head, tail = _HEAD.format(key=TABLES[table][0]), _TAIL.format(table=table)
        op.execute(f"CREATE VIEW reports.{table} AS {head}{columns}{tail}")
        op.execute(f"GRANT SELECT ON reports.{table} TO ledger_reports")


def _newest(table: str, key: str, own: str) -> None:
    """One row for each object and customer, and an index for each list."""
    op.execute(f"""
        CREATE TABLE {table} (
            business_id text NOT NULL,
            mode text NOT NULL,
            {key} text NOT NULL,
            customer_id text NOT NULL,
            shard int NOT NULL,
            stamp text COLLATE "C" NOT NULL,
            {own}
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            known jsonb NOT NULL,
            object jsonb NOT NULL,
            PRIMARY KEY (business_id, mode, {key}, customer_id)
        )
    """)
    op.execute(f"CREATE INDEX {table}_newest ON {table} (business_id, mode, created_at, {key})")
    op.execute(
        f"CREATE INDEX {table}_of_customer ON {table} (business_id, mode, customer_id, created_at, {key})"
    )


def _instances() -> None:
    op.execute("""
        CREATE TABLE licence_key_instances (
            business_id text NOT NULL,
            mode text NOT NULL,
            instance_id text NOT NULL,
            licence_key_id text NOT NULL,
            customer_id text NOT NULL,
            shard int NOT NULL,
            created_at timestamptz NOT NULL,
            name text NOT NULL,
            PRIMARY KEY (business_id, mode, licence_key_id, customer_id, instance_id)
        )
    """)
    op.execute("""
        CREATE INDEX licence_key_instances_newest ON licence_key_instances
        (business_id, mode, created_at, instance_id)
    """)
    op.execute(
        "CREATE INDEX licence_key_instances_by_id ON licence_key_instances (business_id, mode, instance_id)"
    )
