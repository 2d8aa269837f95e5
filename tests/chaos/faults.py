"""What is hurt, when and how: plans from a seed. A kind says how long its effect may outlast it."""

import random
from typing import NamedTuple

WORKER_SECONDS_MAX = 10.0
SERVER_SECONDS_MAX = 20.0
SHORT_SECONDS = (1.0, 6.0)
LONG_SECONDS = (1.0, 14.0)
"""Others take the shards of a worker that is silent for longer than its lease."""
LINKED = ("ledger-1", "ledger-2", "projections")


class Kind(NamedTuple):
    """`lasting`: its time counts from its end, when the server is back, for nobody can answer before; else at once."""

    target: str
    how: str
    times: int
    limit: float = WORKER_SECONDS_MAX
    lasting: bool = False
    seconds: tuple[float, float] = SHORT_SECONDS

    @property
    def name(self) -> str:
        return f"{self.how} {self.target}"


KINDS = (
    Kind("ledger", "kill", 3),
    Kind("ledger", "freeze", 3, seconds=LONG_SECONDS),
    Kind("ledger", "end", 1),
    Kind("ledgers", "kill", 1),
    Kind("projections", "kill", 2),
    Kind("projections", "freeze", 1),
    Kind("projections", "end", 1),
    Kind("api", "kill", 1),
    Kind("api", "freeze", 1, lasting=True),
    Kind("api", "end", 1),
    Kind("intake", "kill", 1),
    Kind("intake", "freeze", 1),
    Kind("intake", "end", 1),
    Kind("kafka", "kill", 2, SERVER_SECONDS_MAX, lasting=True),
    Kind("kafka", "freeze", 1, SERVER_SECONDS_MAX, lasting=True),
    Kind("kafka", "end", 1, SERVER_SECONDS_MAX, lasting=True),
    Kind("postgres", "kill", 2, SERVER_SECONDS_MAX, lasting=True),
    Kind("postgres", "freeze", 1, SERVER_SECONDS_MAX, lasting=True),
    Kind("postgres", "end", 1, SERVER_SECONDS_MAX, lasting=True),
    *(
        Kind(
            f"{process} to {server}",
            how,
            times,
            SERVER_SECONDS_MAX,
            lasting=how in ("slow", "stall"),
            seconds=LONG_SECONDS if how == "half" else SHORT_SECONDS,
        )
        for server in ("postgres", "kafka")
        for process, how, times in (
            ("ledger", "cut", 1), ("ledger", "half", 1), ("ledger", "slow", 1), ("ledger", "stall", 1),
            ("projections", "cut", 1), ("projections", "half", 1), ("projections", "stall", 1),
        )
    ),
    Kind("disk of postgres", "fill", 1, SERVER_SECONDS_MAX, lasting=True),
    Kind("disk of kafka", "fill", 1, SERVER_SECONDS_MAX, lasting=True),
)  # fmt: skip
"""`end` is SIGTERM (SIGINT to PostgreSQL), and a new start."""

KILLS = {
    ("ledger", "kill"): 8,
    ("ledger", "freeze"): 3,
    ("projections", "kill"): 5,
    ("projections", "freeze"): 1,
    ("api", "kill"): 5,
    ("api", "freeze"): 1,
    ("kafka", "kill"): 3,
    ("kafka", "freeze"): 1,
    ("postgres", "kill"): 2,
}
"""Of the storm: one upon the other, and nobody waits until all is well."""

DELAY_SECONDS = (0.05, 0.25)
STORM_PAUSE_SECONDS = (0.8, 1.8)


class Fault(NamedTuple):
    """`other`: of two ledger workers the one that owns less. `pause` comes before it."""

    kind: Kind
    seconds: float
    delay: float
    other: bool
    pause: float


def drawn(seed: int, count: int) -> list[Fault]:
    """So many faults, each kind as often as its share of them, in any order; each after all is well again."""
    draw = random.Random(seed)
    kinds: list[Kind] = []
    while len(kinds) < count:
        turn = [kind for kind in KINDS for _ in range(kind.times)]
        draw.shuffle(turn)
        kinds += turn
    return [_fault(draw, kind, draw.uniform(0.2, 1.0)) for kind in kinds[:count]]


def storm(seed: int) -> list[Fault]:
    """Processes are killed and frozen in quick succession."""
    draw = random.Random(seed)
    kinds = [Kind(target, how, 1) for (target, how), times in KILLS.items() for _ in range(times)]
    draw.shuffle(kinds)
    return [_fault(draw, kind, draw.uniform(*STORM_PAUSE_SECONDS)) for kind in kinds]


def _fault(draw: random.Random, kind: Kind, pause: float) -> Fault:
    seconds, delay = draw.uniform(*kind.seconds), draw.uniform(*DELAY_SECONDS)
    return Fault(kind, seconds, delay, draw.random() < 0.3, pause)
