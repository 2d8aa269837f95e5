"""What lookups need: folded text to search and sort by, and an index for each order and each narrow filter."""

from alembic import op

revision = "views_0004"
down_revision = "views_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _folding()
    _customers()
    op.execute(
        "CREATE INDEX wallets_by_balance ON wallets (business_id, mode, currency, balance_minor, customer_id)"
    )
    op.execute(
        "CREATE INDEX ledger_entries_of_tenant ON ledger_entries "
        "(business_id, mode, created_at, shard, sequence)"
    )
    op.execute("CREATE INDEX ledger_entries_by_id ON ledger_entries USING hash (entry_id)")
    op.execute(
        "CREATE INDEX ledger_entries_by_reference ON ledger_entries "
        "(business_id, mode, reference, created_at, shard, sequence) WHERE reference IS NOT NULL"
    )
    _tallies()


def _folding() -> None:
    """Immutable, because columns are made of it: so the dictionary is named, with the schema it is in."""
    schema = (
        op.get_bind()
        .exec_driver_sql(
            "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'unaccent'"
        )
        .scalar_one()
    )
    op.execute(f"""
        CREATE FUNCTION fold_text(words text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        RETURN lower({schema}.unaccent('{schema}.unaccent'::regdictionary, normalize(words, NFKC)))
    """)
    op.execute(r"""
        CREATE FUNCTION part_pattern(words text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        RETURN '%' || regexp_replace(fold_text(words), '([\\%_])', '\\\1', 'g') || '%'
    """)


def _customers() -> None:
    op.execute("""
        ALTER TABLE customers
            ADD COLUMN search text NOT NULL GENERATED ALWAYS AS (
                fold_text(name) || E'\\n' || fold_text(email) || E'\\n' || lower(customer_id)) STORED,
            ADD COLUMN name_key text COLLATE "C" NOT NULL GENERATED ALWAYS AS (left(fold_text(name), 64)) STORED
    """)
    op.execute("DROP INDEX customers_by_name")
    op.execute("CREATE INDEX customers_search ON customers USING gin (search gin_trgm_ops)")
    op.execute("CREATE INDEX customers_metadata ON customers USING gin (metadata jsonb_path_ops)")
    op.execute(
        "CREATE INDEX customers_not_active ON customers (business_id, mode, status, customer_id) "
        "WHERE status <> 'active'"
    )
    op.execute("CREATE INDEX customers_by_name ON customers (business_id, mode, name_key, customer_id)")


def _tallies() -> None:
    """Counted once by reading all; the projector goes on from there."""
    op.execute("""
        CREATE TABLE tallies (
            shard int NOT NULL,
            business_id text NOT NULL,
            mode text NOT NULL,
            customers bigint NOT NULL,
            entries bigint NOT NULL,
            PRIMARY KEY (business_id, mode, shard)
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        INSERT INTO tallies (shard, business_id, mode, customers, entries)
        SELECT shard, business_id, mode, sum(customers), sum(entries) FROM (
            SELECT shard, business_id, mode, count(*) AS customers, 0 AS entries FROM customers GROUP BY 1, 2, 3
            UNION ALL
            SELECT shard, business_id, mode, 0, count(*) FROM ledger_entries GROUP BY 1, 2, 3
        ) counted GROUP BY 1, 2, 3
    """)
