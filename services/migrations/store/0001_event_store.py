"""Events, receipts and the shard rows that fence their writers."""

from alembic import op

revision = "store_0001"
down_revision = None
branch_labels = None
depends_on = None

RECEIPT_PARTITIONS = 16


def upgrade() -> None:
    op.execute("CREATE TABLE ledger (ledger_id uuid NOT NULL, shards int NOT NULL)")
    op.execute("CREATE UNIQUE INDEX ledger_is_one_row ON ledger ((true))")
    op.execute("""
        CREATE TABLE shards (
            shard int PRIMARY KEY,
            state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'moved')),
            epoch bigint NOT NULL DEFAULT 0,
            position bigint NOT NULL DEFAULT -1,
            position_command_id text NOT NULL DEFAULT '',
            sequence bigint NOT NULL DEFAULT 0,
            head bytea NOT NULL CHECK (octet_length(head) = 32),
            last_time bigint NOT NULL DEFAULT 0,
            published_sequence bigint NOT NULL DEFAULT 0,
            published_offset bigint NOT NULL DEFAULT -1
        ) WITH (fillfactor = 50)
    """)
    op.execute("CREATE TABLE workers (id text PRIMARY KEY, seen timestamptz NOT NULL)")
    # The first four columns and the key are those of eventsourcing's PostgresAggregateRecorder.
    op.execute("""
        CREATE TABLE stored_events (
            originator_id uuid NOT NULL,
            originator_version bigint NOT NULL,
            topic text NOT NULL,
            state bytea NOT NULL,
            shard int NOT NULL,
            sequence bigint NOT NULL,
            PRIMARY KEY (originator_id, originator_version),
            UNIQUE (shard, sequence)
        ) WITH (autovacuum_vacuum_insert_scale_factor = 0.5, autovacuum_analyze_scale_factor = 0.05)
    """)
    op.execute("""
        CREATE TABLE receipts (
            stream uuid NOT NULL,
            origin text NOT NULL,
            key_hash bytea NOT NULL,
            request_hash text NOT NULL,
            shard int NOT NULL,
            sequence bigint NOT NULL,
            command_id text NOT NULL,
            command_position bigint NOT NULL,
            PRIMARY KEY (stream, origin, key_hash)
        ) PARTITION BY HASH (stream)
    """)
    for remainder in range(RECEIPT_PARTITIONS):
        op.execute(
            f"CREATE TABLE receipts_{remainder:02} PARTITION OF receipts "
            f"FOR VALUES WITH (MODULUS {RECEIPT_PARTITIONS}, REMAINDER {remainder})"
        )
    # Minutes of memory for keyless retries: not a receipt, may be lost.
    op.execute("""
        CREATE TABLE keyless_attempts (
            shard int NOT NULL,
            sequence bigint NOT NULL,
            stream uuid NOT NULL,
            request_hash text NOT NULL,
            attempt int NOT NULL,
            recorded bigint NOT NULL,
            PRIMARY KEY (shard, sequence)
        )
    """)
    op.execute("CREATE INDEX keyless_attempts_by_print ON keyless_attempts (stream, request_hash, attempt)")
    op.execute("CREATE INDEX keyless_attempts_by_age ON keyless_attempts (recorded)")
