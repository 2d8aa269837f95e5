"""What an operator sees of intake; each is described in docs/operations.md."""

import collections
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter(
    "wallet_ledger_intake_records_total",
    "Records of payments.events: the ledger's outcome, or parked, passed, dead_letter",
    ["outcome"],
)
TYPES = Counter(
    "wallet_ledger_intake_types_total", "Records by type; what is not known is `unknown`", ["type"]
)
BATCH_SECONDS = Histogram(
    "wallet_ledger_intake_batch_seconds",
    "From a batch leaving the inbox to its checkpoint",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
WAITING = Gauge("wallet_ledger_intake_waiting", "Records whose payment is not known yet")
OUTCOME_WAIT_SECONDS = Gauge(
    "wallet_ledger_intake_outcome_wait_seconds", "How long the oldest command has waited for its outcome"
)
DEAD_LETTERS = Counter(
    "wallet_ledger_intake_dead_letters_total", "ALARM: records that were put aside", ["code"]
)
LAST_PROGRESS = Gauge(
    "wallet_ledger_intake_last_progress_timestamp_seconds", "When a checkpoint last moved, Unix time"
)
REQUESTS = Counter(
    "wallet_ledger_intake_requests_total", "Requests to upstream that were published, repeats too", ["type"]
)
REQUESTS_BEHIND = Gauge(
    "wallet_ledger_intake_requests_behind", "ALARM: events not yet looked at for requests to upstream"
)


def count(counter: Counter, labels: Iterable[str]) -> None:
    """Each label is looked for once: that took 3 us a record."""
    for label, occurrences in collections.Counter(labels).items():
        counter.labels(label).inc(occurrences)
