"""Intake's memory: how far it is, whose each payment is, what waits for its payment. Not made by projections."""

from alembic import op

revision = "views_0006"
down_revision = "views_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE intake_checkpoints (partition int PRIMARY KEY, next_offset bigint NOT NULL)")
    op.execute("""
        CREATE TABLE intake_payments (
            business_id text NOT NULL,
            mode text NOT NULL,
            payment_id text NOT NULL,
            customer_id text NOT NULL,
            PRIMARY KEY (business_id, mode, payment_id)
        )
    """)
    op.execute("""
        CREATE TABLE intake_waiting (
            partition int NOT NULL,
            kafka_offset bigint NOT NULL,
            business_id text NOT NULL,
            mode text NOT NULL,
            payment_id text NOT NULL,
            value bytea NOT NULL,
            since timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (partition, kafka_offset)
        )
    """)
    op.execute("CREATE INDEX intake_waiting_by_payment ON intake_waiting (business_id, mode, payment_id)")
    op.execute("CREATE INDEX intake_waiting_by_age ON intake_waiting (since)")
