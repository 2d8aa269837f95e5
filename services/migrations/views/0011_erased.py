"""Since when a customer is erased. No event of this kind is older than this."""

from alembic import op

revision = "views_0011"
down_revision = "views_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE customers ADD COLUMN erased_at timestamptz")
    op.execute("CREATE INDEX customers_erased ON customers (erased_at) WHERE erased_at IS NOT NULL")
    op.execute("""
        CREATE OR REPLACE VIEW reports.customers AS
        SELECT business_id, mode, customer_id, shard, status, preferred_locale, created_at, updated_at, blocked_at,
            closed_at, erased_at FROM customers
    """)
