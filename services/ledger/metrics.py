"""What an operator asks the ledger worker; described in docs/operations.md."""

from prometheus_client import Counter, Gauge, Histogram

from services.verifying import Board

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

COMMANDS = Counter("wallet_ledger_commands_total", "Commands by type and outcome", ["type", "outcome"])
DEAD_LETTERS = Counter("wallet_ledger_dead_letters_total", "Records put aside, by reason", ["code"])
BATCH_COMMANDS = Histogram(
    "wallet_ledger_batch_commands", "Commands per batch", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
LOAD_SECONDS = Histogram("wallet_ledger_load_seconds", "Reading what a batch needs", buckets=_SECONDS)
COMMIT_SECONDS = Histogram("wallet_ledger_commit_seconds", "The transaction of a batch", buckets=_SECONDS)
COMMITS_FAILED = Counter(
    "wallet_ledger_commits_failed_total",
    "Batches that the store refused, and lives of the worker that an error ended",
    ["error"],
)
SHARDS_OWNED = Gauge("wallet_ledger_shards_owned", "Shards this worker holds")
WORKERS_LIVE = Gauge(
    "wallet_ledger_workers_live", "Ledger workers that share the shards, as this one sees it"
)
HANDOVERS = Counter("wallet_ledger_handovers_total", "Shards handed to other workers in order")
SHARDS_REFUSED = Gauge(
    "wallet_ledger_shards_refused",
    "Free shards not taken: the topic is ahead of the store, differs from it, or has no leader",
)
TAKEOVERS = Counter("wallet_ledger_takeovers_total", "Shards taken over")
POSITIONS_UNVERIFIED = Counter(
    "wallet_ledger_positions_unverified_total",
    "Take-overs whose command log did not hold the last command; re-read",
)
RELAY_LAG_EVENTS = Gauge("wallet_ledger_relay_lag_events", "Committed events not yet in the topic")
RELAY_LAG_SECONDS = Gauge(
    "wallet_ledger_relay_lag_seconds",
    "Since the topic last took one of them, in the shard where that is longest",
)
RELAY_FAILURES = Counter("wallet_ledger_relay_failures_total", "Failed publishes and scans; a scan follows")
EVENTS_PUBLISHED = Counter("wallet_ledger_events_published_total", "Events acknowledged by Kafka")
REPLIES_DROPPED = Counter("wallet_ledger_replies_dropped_total", "Replies that could not be sent")
EFFECTS = Counter(
    "wallet_ledger_upstream_effects_total", "What upstream's word meant for wallets", ["rule", "outcome"]
)
CACHED_CUSTOMERS = Gauge("wallet_ledger_cached_customers", "Aggregates in memory")
CACHED_BYTES = Gauge("wallet_ledger_cached_bytes", "What they take")
EVENTS_FOLDED = Counter("wallet_ledger_events_folded_total", "Events read for aggregates not in memory")
SNAPSHOTS_KEPT = Counter("wallet_ledger_snapshots_kept_total", "Snapshots written")
SNAPSHOTS_IGNORED = Counter(
    "wallet_ledger_snapshots_ignored_total", "Snapshots of no use: damaged, or in another form"
)
CLOCK_SKEW_SECONDS = Gauge("wallet_ledger_clock_skew_seconds", "This clock minus the database's")
VERIFIED_SEQUENCE = Gauge(
    "wallet_ledger_verified_sequence", "How far store, topic and receipts were last checked", ["shard"]
)
VERIFIED_TIME = Gauge("wallet_ledger_verified_timestamp_seconds", "When that was, Unix time", ["shard"])
VERIFY_FINDINGS = Gauge("wallet_ledger_verify_findings", "ALARM if above 0: what did not fit then", ["shard"])
VERIFIED = Board(VERIFIED_SEQUENCE, VERIFIED_TIME, VERIFY_FINDINGS)
