"""States of customers after so many events: a cache of what the events say, which may be emptied at any time."""

from alembic import op

revision = "store_0004"
down_revision = "store_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE snapshots (
            stream uuid PRIMARY KEY,
            version bigint NOT NULL,
            head bytea NOT NULL,
            state bytea NOT NULL
        ) WITH (fillfactor = 80)
    """)
