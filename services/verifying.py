"""What a check of stored data found, without personal data; and its pace where it must disturb nobody."""

import asyncio
import gc
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

log = structlog.get_logger()

FINDINGS_MAX = 100
"""Per shard and kind: the first ones tell what happened, all of them fill memory."""


QUIET_SECONDS = 60.0
"""After a start there is other work."""
AGAIN_SECONDS = 5.0
"""Between two shards: an empty one is checked in no time."""
_YOUNG = 1
"""What is garbage after a check: a closed consumer of aiokafka is a cycle that holds the megabytes it has fetched.

Left to itself Python would look after 50,000 more objects only (`services/runtime.py`), hours later, and memory grew with
each check. Generations 0 and 1 hold what is new since the last look, so that it takes next to no time.
"""


class Kind(StrEnum):
    """What does not fit. Store and topic are checked by the ledger, the rest by the projections."""

    TOPIC = "topic"  # store and topic hold different events
    CHAIN = "chain"  # an event names another predecessor, or there is a gap
    COLUMN = "column"  # a column of the store says something else than its event
    RECEIPT = "receipt"  # receipts are not those of the events
    HEAD = "head"  # a shard row or checkpoint is not that of the last event
    BALANCE = "balance"  # entries do not add up to the balance
    TRIAL_BALANCE = "trial_balance"  # accounts do not sum to zero
    READ_MODEL = "read_model"  # rows are not what the events make


class Finding(NamedTuple):
    """`sequence` 0: of the shard as a whole."""

    kind: Kind
    shard: int
    sequence: int
    detail: str


class Checked(NamedTuple):
    """One shard, up to `sequence`."""

    shard: int
    sequence: int
    findings: list[Finding]


class Findings:
    """Collects them; the first of each kind."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.all: list[Finding] = []

    def add(self, kind: Kind, sequence: int, detail: str) -> None:
        if sum(one.kind is kind for one in self.all) < FINDINGS_MAX:
            self.all.append(Finding(kind, self.shard, sequence, detail))


class Board(NamedTuple):
    """What a service shows of its checks, by shard."""

    sequence: Gauge
    time: Gauge
    findings: Gauge

    def note(self, checked: Checked) -> None:
        """For whoever watches."""
        shard = str(checked.shard)
        self.sequence.labels(shard).set(checked.sequence)
        self.time.labels(shard).set_to_current_time()
        self.findings.labels(shard).set(len(checked.findings))

    def forget(self, shard: int) -> None:
        """Somebody else has it now, and looks for himself."""
        for gauge in self:
            gauge.remove(str(shard))


class Throttle:
    """At most so many events a second, taken in small bites; `rate` 0: no limit."""

    BITE_SECONDS = 0.1

    def __init__(self, rate: int = 0) -> None:
        self._rate = rate

    def bite(self, otherwise: int) -> int:
        """How many events to take at once."""
        return max(1, int(self._rate * self.BITE_SECONDS)) if self._rate else otherwise

    async def took(self, events: int) -> None:
        """Rest for as long as they may take."""
        if self._rate:
            await asyncio.sleep(events / self._rate)


async def confirmed(check: Callable[[int], Awaitable[Checked]], shard: int) -> Checked:
    """What a second look finds again: a key destroyed in between, say, is no damage."""
    first = await check(shard)
    if not first.findings:
        return first
    second = await check(shard)
    return second._replace(findings=[one for one in second.findings if one in first.findings])


async def verify_forever(
    check: Callable[[int], Awaitable[Checked]],
    shards: Callable[[], Collection[int]],
    board: Board,
) -> None:
    """In the background of a service: one shard of its own after the other, the one checked longest ago first."""
    await asyncio.sleep(QUIET_SECONDS)
    turns: dict[int, int] = {}
    for turn in itertools.count(1):
        gc.collect(_YOUNG)
        mine = shards()
        for given_away in turns.keys() - mine:
            board.forget(given_away)
            del turns[given_away]
        if not mine:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        shard = min(mine, key=lambda one: (turns.get(one, 0), one))
        turns[shard] = turn
        try:
            checked = await confirmed(check, shard)
        except Exception as error:  # noqa: BLE001 - a check that fails must not end the service that it checks
            log.warning("check_failed", shard=shard, error=type(error).__name__)
        else:
            board.note(checked)
            if checked.findings:
                log.error("check_found", shard=shard, findings=lines(checked.findings)[:10])
        await asyncio.sleep(AGAIN_SECONDS)


def lines(findings: Iterable[Finding]) -> list[str]:
    """For people."""
    return [
        f"shard {one.shard}{f' at {one.sequence}' if one.sequence else ''}: {one.kind}: {one.detail}"
        for one in findings
    ]
