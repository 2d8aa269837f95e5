"""Many histories, in as many processes as there are cores; those that break a promise, made small."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import NamedTuple

import msgspec

from tests.proof.checker import check
from tests.proof.history import History, live
from tests.proof.plan import BOARD, Cell, Plan, plan

CHUNK = 20
SHRINK_SECONDS = 30.0


class Lived(NamedTuple):
    """What is left of a history. `promise`: the one it broke, or None."""

    seed: int
    promise: str | None
    fired: frozenset[Cell]
    answers: Counter[str]
    fingerprint: bytes


@dataclass
class Found:
    """What a run has seen so far."""

    seed: int
    histories: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    fired: set[Cell] = field(default_factory=set)
    broken: list[Lived] = field(default_factory=list)
    fingerprints: dict[int, bytes] = field(default_factory=dict)

    def add(self, lived: Lived) -> None:
        self.histories += 1
        self.answers += lived.answers
        self.fired |= lived.fired
        self.fingerprints[lived.seed] = lived.fingerprint
        if lived.promise is not None:
            self.broken.append(lived)

    @property
    def uncovered(self) -> list[Cell]:
        return [cell for cell in BOARD if cell not in self.fired]

    @property
    def fingerprint(self) -> str:
        """The same for the same histories, to the microsecond."""
        return sha256(b"".join(value for _, value in sorted(self.fingerprints.items()))).hexdigest()[:16]


def lived(seed: int) -> Lived:
    """One history, from its seed."""
    history = live(plan(seed))
    answers = Counter(operation.answer.kind for operation in history.operations)
    fingerprint = history.town.fingerprint.digest()
    return Lived(seed, check(history), frozenset(history.fired), answers, fingerprint)


def _chunk(first: int, histories: int) -> list[Lived]:
    return [lived(seed) for seed in range(first, first + histories)]


def explore(
    seed: int,
    histories: int | None,
    seconds: float | None,
    jobs: int,
    first_only: bool = False,
    tell: Callable[[Found], None] = lambda found: None,
) -> Found:
    """Histories from `seed` on, until their number or the time is over, or (`first_only`) one broke a promise."""
    found, began = Found(seed), time.monotonic()
    chunks = _chunks(seed, histories, 1 if first_only else CHUNK)
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(_chunk, *chunk) for _, chunk in zip(range(2 * jobs), chunks, strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                for history in one.result():
                    found.add(history)
            found.seconds = time.monotonic() - began
            tell(found)
            if (first_only and found.broken) or (seconds is not None and found.seconds > seconds):
                chunks = iter(())
            running |= {pool.submit(_chunk, *chunk) for _, chunk in zip(done, chunks, strict=False)}
    found.broken.sort()
    return found


def _chunks(seed: int, histories: int | None, size: int) -> Iterator[tuple[int, int]]:
    ends = count(seed, size) if histories is None else range(seed, seed + histories, size)
    for first in ends:
        yield first, size if histories is None else min(size, seed + histories - first)


def smallest(seed: int) -> History:
    """The history of this seed without whatever it does not need to break a promise."""
    best, changed = live(plan(seed)), True
    give_up = time.monotonic() + SHRINK_SECONDS
    while changed and time.monotonic() < give_up:
        changed = False
        for smaller in _smaller(best.plan):
            history = live(smaller)
            if check(history) is not None:
                best, changed = history, True
            if changed or time.monotonic() > give_up:
                break
    return best


def _smaller(whole: Plan) -> Iterator[Plan]:
    """The plan with one thing less, the largest things first."""
    stories = whole.stories
    if len(stories) > 1:
        for index in range(len(stories)):
            yield whole._replace(stories=(*stories[:index], *stories[index + 1 :]))
    for field_name in ("workers", "apis", "projections"):
        if getattr(whole, field_name) > 1:
            yield whole._replace(**{field_name: getattr(whole, field_name) - 1})
    if whole.garbage:
        yield whole._replace(garbage=False)
    for index in range(len(whole.faults)):
        yield whole._replace(faults=(*whole.faults[:index], *whole.faults[index + 1 :]))
    for index, story in enumerate(stories):
        for step in range(len(story)):
            shorter = (*story[:step], *story[step + 1 :])
            yield whole._replace(stories=(*stories[:index], shorter, *stories[index + 1 :]))


def told(history: History) -> list[str]:
    """A history for a person: what the plan did, what was asked, what was answered, what is wrong."""
    plan = history.plan
    lines = [f"{plan.workers} worker(s), {plan.apis} api(s), {plan.projections} projections"
             f"{', answers after the publish' if plan.acknowledge_topic else ''}"]  # fmt: skip
    lines += [f"  {line}" for line in history.town.happened]
    for one in history.operations:
        request = one.request
        asked = ", ".join(f"{name}={value}" for name, value in msgspec.to_builtins(request.ask).items())
        answer = " ".join(filter(None, (one.answer.kind, one.answer.code, _place(one.answer.position))))
        lines.append(f"  {one.name} [{one.invoked}-{one.returned}] {request.customer} {request.ask.TYPE} {asked}"
                     f"{f' key {request.key}' if request.key else ''} -> {answer}")  # fmt: skip
    lines += [f"  read {read}" for read in history.reads]
    return lines


def _place(position: tuple[int, int]) -> str:
    return f"at {position[0]}:{position[1]}" if position[1] else ""
