"""What the api measures about itself. Children are kept: looking one up by label costs more than observing."""

import os
from functools import lru_cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
_SEVERAL = "PROMETHEUS_MULTIPROC_DIR"

REQUEST_SECONDS = Histogram(
    "wallet_ledger_api_request_seconds",
    "Time from the first byte of a request to the end of its answer",
    ["route", "method", "status"],
    buckets=_SECONDS,
)
COMMANDS = Counter("wallet_ledger_api_commands", "Commands by what became of them", ["outcome"])
REPLY_SECONDS = Histogram(
    "wallet_ledger_api_command_reply_seconds", "Time from hand-over to Kafka to the reply", buckets=_SECONDS
)
IN_FLIGHT = Gauge(
    "wallet_ledger_api_commands_in_flight", "Commands that wait for their reply", multiprocess_mode="livesum"
)
VISIBILITY_SECONDS = Histogram(
    "wallet_ledger_api_visibility_wait_seconds", "Time until the read models had a position", buckets=_SECONDS
)
VISIBILITY_MISSED = Counter(
    "wallet_ledger_api_visibility_missed", "Waits that ended before the read models had the position"
)
BREAKER_OPEN = Gauge(
    "wallet_ledger_api_breaker_open",
    "1 while commands are refused because Kafka is away, a fraction while some shards are",
    multiprocess_mode="livemax",
)

WEBHOOKS = Counter("wallet_ledger_api_webhooks", "Deliveries by webhook, by what became of them", ["outcome"])
LIMITED = Counter(
    "wallet_ledger_api_limited", "Requests refused with 429, by what they are counted by", ["by"]
)
EXPORTS = Counter("wallet_ledger_api_exports", "Exports by how they ended", ["outcome"])


def several_processes(folder: str) -> None:
    """Make the processes started from here share one set of numbers. Call before they start."""
    os.environ[_SEVERAL] = folder


def request(route: str, method: str, status: int, seconds: float) -> None:
    _request(route, method if method in _METHODS else "other", status // 100).observe(seconds)


def command(outcome: str) -> None:
    _command(outcome).inc()


def webhook(outcome: str) -> None:
    """`taken`, `duplicate`, or the code of the error, in small letters."""
    WEBHOOKS.labels(outcome).inc()


def exposition() -> tuple[bytes, bytes]:
    """Body and media type of `/metrics`, over all processes of this api."""
    if _SEVERAL not in os.environ:
        return generate_latest(), CONTENT_TYPE_LATEST.encode()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST.encode()


@lru_cache(maxsize=1024)
def _request(route: str, method: str, hundreds: int) -> Histogram:
    return REQUEST_SECONDS.labels(route, method, f"{hundreds}xx")


@lru_cache(maxsize=64)
def _command(outcome: str) -> Counter:
    return COMMANDS.labels(outcome)
