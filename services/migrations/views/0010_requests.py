"""What was asked of upstream, and what became of it."""

from alembic import op

revision = "views_0010"
down_revision = "views_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE requests (
            business_id text NOT NULL,
            mode text NOT NULL,
            customer_id text NOT NULL,
            request_id text NOT NULL,
            shard int NOT NULL,
            kind text NOT NULL,
            status text NOT NULL,
            object_id text,
            currency text,
            amount_minor bigint,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (business_id, mode, customer_id, request_id)
        )
    """)
    op.execute("""
        CREATE INDEX requests_of_customer ON requests (business_id, mode, customer_id, created_at, request_id)
    """)
