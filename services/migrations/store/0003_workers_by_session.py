"""Workers are known by their sessions: who lost his session is gone at once, and shares no more."""

from alembic import op

revision = "store_0003"
down_revision = "store_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Unlogged: a heartbeat waits for no disk, and no worker survives the server."""
    op.execute("DELETE FROM workers")  # of an older worker that was killed: it had no session to be known by
    op.execute("ALTER TABLE workers SET UNLOGGED")
    op.execute("ALTER TABLE workers ADD COLUMN session int NOT NULL, ADD COLUMN refused int[] NOT NULL")
