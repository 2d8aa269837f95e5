"""Who is blocked or closed, and the entries of the blocklist. No event of these kinds is older than this."""

from alembic import op

revision = "views_0003"
down_revision = "views_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE customers
            ADD COLUMN blocked_at timestamptz,
            ADD COLUMN blocklist_entry_id text,
            ADD COLUMN closed_at timestamptz,
            ADD COLUMN status text NOT NULL GENERATED ALWAYS AS (
                CASE WHEN closed_at IS NOT NULL THEN 'closed' WHEN blocked_at IS NOT NULL THEN 'blocked'
                     ELSE 'active' END
            ) STORED
    """)
    op.execute("""
        CREATE TABLE blocklist_entries (
            business_id text NOT NULL,
            mode text NOT NULL,
            block_id text NOT NULL,
            customer_id text NOT NULL,
            shard int NOT NULL,
            identifier text NOT NULL,
            reason text,
            created_at timestamptz NOT NULL,
            unblocked_at timestamptz,
            PRIMARY KEY (business_id, mode, block_id)
        )
    """)
    op.execute("""
        CREATE INDEX blocklist_entries_newest
        ON blocklist_entries (business_id, mode, created_at DESC, block_id DESC) WHERE unblocked_at IS NULL
    """)
