"""Whom the events call erased is found without reading all of them: a worker asks at each start."""

from alembic import op

revision = "store_0006"
down_revision = "store_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():  # a ledger that is at work meanwhile goes on
        op.execute("DROP INDEX IF EXISTS stored_events_erased")  # of a try that was broken off
        op.execute("""
            CREATE INDEX CONCURRENTLY stored_events_erased ON stored_events (originator_id)
            WHERE topic = 'customer.erased.v1'
        """)
