"""Wrapped data keys. Backups of this database live at most 30 days: a restored key undoes an erasure."""

from alembic import op

revision = "keys_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE data_keys (
            owner uuid PRIMARY KEY,
            wrapped bytea,
            created_at timestamptz NOT NULL DEFAULT now(),
            erased_at timestamptz,
            CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
        )
    """)
