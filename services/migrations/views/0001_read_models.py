"""Customers, wallets, ledger entries, trial balance and the checkpoints they are true for."""

from alembic import op

revision = "views_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute("CREATE EXTENSION IF NOT EXISTS unaccent")
    op.execute("""
        CREATE TABLE checkpoints (
            shard int PRIMARY KEY,
            sequence bigint NOT NULL DEFAULT 0,
            head bytea NOT NULL DEFAULT '',
            next_offset bigint NOT NULL DEFAULT 0,
            event_time timestamptz,
            updated_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 50)
    """)
    # As a function that raises, so that a whole batch is one round trip: what follows it fails with it.
    op.execute("""
        CREATE FUNCTION move_checkpoints(
            shards int[], seen_sequences bigint[], seen_heads bytea[],
            sequences bigint[], heads bytea[], next_offsets bigint[], event_times timestamptz[]
        ) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE moved int;
        BEGIN
            UPDATE checkpoints AS old SET
                sequence = new.sequence, head = new.head, next_offset = new.next_offset,
                event_time = new.event_time, updated_at = now()
            FROM unnest(shards, seen_sequences, seen_heads, sequences, heads, next_offsets, event_times)
                AS new (shard, seen_sequence, seen_head, sequence, head, next_offset, event_time)
            WHERE old.shard = new.shard AND old.sequence = new.seen_sequence AND old.head = new.seen_head;
            GET DIAGNOSTICS moved = ROW_COUNT;
            IF moved <> cardinality(shards) THEN
                RAISE EXCEPTION 'another projector moved these checkpoints' USING ERRCODE = '40001';
            END IF;
        END $$
    """)
    op.execute("CREATE TABLE projectors (id text PRIMARY KEY, seen timestamptz NOT NULL)")
    op.execute("""
        CREATE TABLE chain_breaks (
            shard int PRIMARY KEY,
            sequence bigint NOT NULL,
            reason text NOT NULL,
            times int NOT NULL,
            seen_at timestamptz NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE customers (
            business_id text NOT NULL,
            mode text NOT NULL,
            customer_id text NOT NULL,
            shard int NOT NULL,
            name text NOT NULL,
            email text NOT NULL,
            phone_number text,
            metadata jsonb NOT NULL DEFAULT '{}',
            preferred_locale text,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (business_id, mode, customer_id)
        )
    """)
    op.execute(
        "CREATE INDEX customers_newest ON customers (business_id, mode, created_at DESC, customer_id DESC)"
    )
    op.execute("CREATE INDEX customers_by_name ON customers USING gin (name gin_trgm_ops)")
    op.execute("CREATE INDEX customers_by_email ON customers (business_id, mode, lower(email))")
    op.execute("""
        CREATE TABLE wallets (
            business_id text NOT NULL,
            mode text NOT NULL,
            customer_id text NOT NULL,
            currency text NOT NULL,
            balance_minor bigint NOT NULL CHECK (balance_minor >= 0),
            shard int NOT NULL,
            sequence bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (business_id, mode, customer_id, currency)
        ) WITH (fillfactor = 70)
    """)
    op.execute("""
        CREATE TABLE ledger_entries (
            shard int NOT NULL,
            sequence bigint NOT NULL,
            business_id text NOT NULL,
            mode text NOT NULL,
            customer_id text NOT NULL,
            entry_id text NOT NULL,
            currency text NOT NULL,
            is_credit boolean NOT NULL,
            amount_minor bigint NOT NULL CHECK (amount_minor > 0),
            balance_before_minor bigint NOT NULL CHECK (balance_before_minor >= 0),
            balance_after_minor bigint NOT NULL CHECK (balance_after_minor >= 0),
            cause text NOT NULL,
            counter_account text NOT NULL,
            reference text,
            reason text,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (shard, sequence)
        )
    """)
    op.execute(
        "CREATE INDEX ledger_entries_newest ON ledger_entries (business_id, mode, customer_id, sequence DESC)"
    )
    op.execute("""
        CREATE TABLE accounts (
            shard int NOT NULL,
            business_id text NOT NULL,
            mode text NOT NULL,
            currency text NOT NULL,
            account text NOT NULL,
            balance_minor numeric(38, 0) NOT NULL,
            PRIMARY KEY (shard, business_id, mode, currency, account)
        ) WITH (fillfactor = 50)
    """)
