"""API keys: a hash each, never the secret."""

from alembic import op

revision = "views_0002"
down_revision = "views_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE api_keys (
            key_id text PRIMARY KEY,
            business_id text NOT NULL,
            mode text NOT NULL CHECK (mode IN ('live', 'test')),
            name text NOT NULL,
            prefix text NOT NULL,
            hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
            scopes text[] NOT NULL CHECK (
                cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'write', 'refund', 'admin']
            ),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz
        )
    """)
    op.execute("CREATE INDEX api_keys_by_name ON api_keys (business_id, mode, name)")
