"""What an operator sees of the projections; each is described in docs/operations.md."""

from prometheus_client import Counter, Gauge, Histogram

from services.verifying import Board

EVENTS = Counter("wallet_ledger_projection_events_total", "Events applied to the read models")
RECORDS = Counter("wallet_ledger_projection_records_total", "Records received, repeats included")
BATCH = Histogram(
    "wallet_ledger_projection_batch_events",
    "Events in one transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
TRANSACTION = Histogram(
    "wallet_ledger_projection_transaction_seconds",
    "Time from a batch leaving the inbox to its commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
VISIBLE = Histogram(
    "wallet_ledger_projection_visible_seconds",
    "Time from the recording of a batch's newest event to its being readable",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 300),
)
LAG_EVENTS = Gauge("wallet_ledger_projection_lag_events", "Records of this process's shards not yet applied")
LAG_EVENTS_MAX = Gauge(
    "wallet_ledger_projection_lag_events_max", "The same, of the shard that is furthest behind"
)
LAG_SECONDS = Gauge(
    "wallet_ledger_projection_lag_seconds", "For how long the oldest of them has been waiting"
)
SHARDS = Gauge("wallet_ledger_projection_shards_owned", "Shards assigned to this process")
BREAKS = Gauge(
    "wallet_ledger_projection_chain_breaks",
    "Shards whose next event was missing, unreadable or in no chain when it was last tried; kept over restarts",
)
HALTED = Gauge(
    "wallet_ledger_projection_shards_halted", "ALARM if above 0: shards that met one break three times"
)
LAST_PROGRESS = Gauge(
    "wallet_ledger_projection_last_progress_timestamp_seconds", "When a batch was last applied, Unix time"
)
VERIFIED_SEQUENCE = Gauge(
    "wallet_ledger_projection_verified_sequence", "How far read models were last checked", ["shard"]
)
VERIFIED_TIME = Gauge(
    "wallet_ledger_projection_verified_timestamp_seconds", "When that was, Unix time", ["shard"]
)
VERIFY_FINDINGS = Gauge(
    "wallet_ledger_projection_verify_findings", "ALARM if above 0: what did not fit then", ["shard"]
)
VERIFIED = Board(VERIFIED_SEQUENCE, VERIFIED_TIME, VERIFY_FINDINGS)
