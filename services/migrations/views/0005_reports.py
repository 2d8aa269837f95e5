"""Views for other teams' dashboards, and a role that may read nothing else. Their columns are a contract (docs/views.md)."""

from alembic import op

revision = "views_0005"
down_revision = "views_0004"
branch_labels = None
depends_on = None

VIEWS = {
    "customers": """
        SELECT business_id, mode, customer_id, shard, status, preferred_locale, created_at, updated_at, blocked_at,
            closed_at FROM customers""",
    "wallets": """
        SELECT business_id, mode, customer_id, currency, balance_minor, shard, sequence, updated_at FROM wallets""",
    "ledger_entries": """
        SELECT business_id, mode, customer_id, entry_id, shard, sequence, currency, is_credit, amount_minor,
            balance_before_minor, balance_after_minor, cause, counter_account, reference, created_at
        FROM ledger_entries""",
    "accounts": """
        SELECT business_id, mode, currency, account, sum(balance_minor) AS balance_minor
        FROM accounts GROUP BY business_id, mode, currency, account""",
    "checkpoints": "SELECT shard, sequence, event_time, updated_at FROM checkpoints",
}


def upgrade() -> None:
    op.execute("CREATE SCHEMA reports")
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW reports.{name} AS {query}")
    # A role belongs to the server, not to this database: another ledger on it may have made it, even just now.
    op.execute("""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledger_reports') THEN
                CREATE ROLE ledger_reports NOLOGIN;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'this user may not create roles'
                    USING HINT = 'as one who may: CREATE ROLE ledger_reports NOLOGIN; then migrate again';
        END $$
    """)
    op.execute("GRANT USAGE ON SCHEMA reports TO ledger_reports")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA reports TO ledger_reports")
