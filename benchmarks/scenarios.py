"""What is measured, and what it is to reach."""

from fnmatch import fnmatch
from typing import NamedTuple

ENTRIES = "/customers/{customer}/wallets/ledger-entries"
WALLETS = "/customers/{customer}/wallets"
ALL = 0


class Target(NamedTuple):
    """None: no demand."""

    rate: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None

    def __str__(self) -> str:
        parts = [
            f">= {self.rate:,.0f}/s" if self.rate else "",
            f"p50 <= {self.p50_ms:g} ms" if self.p50_ms else "",
            f"p99 <= {self.p99_ms:g} ms" if self.p99_ms else "",
        ]
        return ", ".join(part for part in parts if part)


class Http(NamedTuple):
    """Clients in a closed loop. `wallets` 0: all there are; `wait` false: `Prefer: respond-async`."""

    name: str
    clients: int
    wallets: int
    target: Target
    path: str = ENTRIES
    method: str = "POST"
    wait: bool = False
    baseline: bool = False

    @property
    def wait_mode(self) -> str:
        if self.method == "GET" or self.baseline:
            return "none"
        return "read-your-writes" if self.wait else "respond-async"


class Backlog(NamedTuple):
    """A backlog of commands and who works it off: one ledger worker, or the projections."""

    name: str
    worker: str
    answered: bool
    target: Target


WARM_UP = Http("warm-up", 32, ALL, Target())
BASELINES = (
    Http("baseline-32-uniform", 32, ALL, Target(), baseline=True),
    Http("baseline-32-hot", 32, 1, Target(), baseline=True),
    Http("baseline-128-uniform", 128, ALL, Target(), baseline=True),
    Http("baseline-128-hot", 128, 1, Target(), baseline=True),
)
BACKLOGS = (
    Backlog("kafka-commands", "ledger", False, Target(rate=15_000)),
    Backlog("projections-catch-up", "projections", False, Target(rate=8_000)),
    Backlog("kafka-commands-answered", "ledger", True, Target()),
)
WRITES = (
    Http("write-1", 1, ALL, Target(p50_ms=6)),
    Http("write-1-visible", 1, ALL, Target(p50_ms=25), wait=True),
    Http("write-32-uniform", 32, ALL, Target(rate=3_000, p99_ms=60)),
    Http("write-32-hot", 32, 1, Target(rate=3_500, p99_ms=60)),
    Http("write-32-visible", 32, ALL, Target(rate=2_000), wait=True),
    Http("write-128-uniform", 128, ALL, Target(rate=4_000)),
    Http("write-128-hot", 128, 1, Target(rate=5_000)),
)
READ_WALLETS = 1_000
READ_ENTRIES = 10
READS = (
    Http("read-balance", 16, READ_WALLETS, Target(rate=4_000, p99_ms=15), WALLETS, "GET"),
    Http("read-entries", 16, READ_WALLETS, Target(rate=4_000, p99_ms=15), ENTRIES, "GET"),
)
NAMES = [scenario.name for scenario in (*BASELINES, *BACKLOGS, *WRITES, *READS)]
TIMES_BASELINE = 3.0
"""`write-128-hot` against `baseline-128-hot`."""


def wanted(name: str, patterns: list[str]) -> bool:
    """Whether a scenario was asked for; without patterns all are."""
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)
