"""Whom the events call erased is found without reading all of them: a worker asks at each start."""

from alembic import op
from sqlalchemy import text

revision = "store_0006"
down_revision = "store_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A ledger that is at work meanwhile goes on, so this may wait for as long as others read."""
    with op.get_context().autocommit_block():
        patience = op.get_bind().scalar(text("SHOW lock_timeout"))
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS stored_events_erased")  # of a try that was broken off
        op.execute("""
            CREATE INDEX CONCURRENTLY stored_events_erased ON stored_events (originator_id)
            WHERE topic = 'customer.erased.v1'
        """)
        op.execute(f"SET lock_timeout = '{patience}'")
