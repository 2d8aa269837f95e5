"""A destroyed key leaves nothing behind: no dead row for long, and no sample among the planner's statistics."""

from alembic import op

revision = "keys_0002"
down_revision = "keys_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE data_keys SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0)"
    )
    op.execute("""
        ALTER TABLE data_keys
            ALTER COLUMN wrapped SET STATISTICS 0,
            ALTER COLUMN wrapped TYPE bytea
    """)  # the same type again: that drops the samples that are there
