"""How far requests to upstream are published. Not made by projections."""

from alembic import op

revision = "views_0009"
down_revision = "views_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE intake_publications (shard int PRIMARY KEY, next_offset bigint NOT NULL)")
