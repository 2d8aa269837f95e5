"""Webhook endpoints with their wrapped secrets, and which deliveries were taken. Not made by projections."""

from alembic import op

revision = "views_0008"
down_revision = "views_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE webhook_endpoints (
            endpoint_id text PRIMARY KEY,
            business_id text NOT NULL,
            mode text NOT NULL CHECK (mode IN ('live', 'test')),
            name text NOT NULL,
            secret bytea NOT NULL,
            old_secret bytea,
            old_secret_until timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            revoked_at timestamptz,
            CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
        )
    """)
    op.execute("""
        CREATE TABLE webhook_deliveries (
            endpoint_id text NOT NULL,
            delivery bytea NOT NULL CHECK (octet_length(delivery) = 32),
            taken_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (endpoint_id, delivery)
        )
    """)
    op.execute("CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (taken_at)")
