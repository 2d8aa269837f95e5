"""A plugin for pytest that runs, in place of the tests, each mutant against the tests that go through it.

mutmut starts pytest anew for each of thousands of mutants. Here all are children of one session that has collected its
tests and run each of them once: a mutant costs what its tests cost, and is told from a busy machine by processor time.
"""

import gc
import math
import os
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import mutmut
import pytest
from hypothesis import HealthCheck, Phase, settings
from mutmut.configuration import Config

from tests.proof.mutation_plan import Plan

EXAMPLES_MAX = 10
CPU_FACTOR, CPU_SECONDS_MIN = 5, 3
WALL_SECONDS_MAX = 900
UNDER_TEST = "MUTANT_UNDER_TEST"
OUTCOMES = {0: "survived", 1: "killed", -signal.SIGXCPU: "timeout", -signal.SIGALRM: "timeout"}
"""By exit code of the child; any other is a crash."""


class Touched(NamedTuple):
    """The tests that go through a function, the quickest first, and the processor seconds of all of them."""

    tests: list[pytest.Item]
    seconds: float


class Child(NamedTuple):
    """A process that tries one mutant, and where it says which of its tests failed."""

    pid: int
    mutant: str
    found: Touched
    said: int


def pytest_configure() -> None:
    """Behind the conftest's own profile: few examples, always the same ones, and no search for a smaller one."""
    settings.register_profile(
        "mutation",
        deadline=None,
        max_examples=EXAMPLES_MAX,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutation")


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of pytest's own loop."""
    place = Path(os.environ["MUTATION_PLAN"])
    plan = msgspec.json.decode(place.read_bytes(), type=Plan)
    touched = observed(session.items)
    gc.freeze()
    running: dict[int, Child] = {}
    for mutant in plan.mutants:
        if (found := touched.get(mutant.partition("__mutmut_")[0])) is None:
            plan.outcomes[mutant] = "no tests"
            continue
        if len(running) >= plan.children:
            _reap(running, plan)
        child = _born(mutant, found)
        running[child.pid] = child
        place.write_bytes(msgspec.json.encode(plan))  # whoever looks sees how far it is
    while running:
        _reap(running, plan)
    place.write_bytes(msgspec.json.encode(plan))
    return True


def observed(tests: Sequence[pytest.Item]) -> Mapping[str, Touched]:
    """Every test once, unchanged: which functions it goes through. Raises where one fails."""
    Config.ensure_loaded()
    touched: dict[str, list[tuple[float, int]]] = defaultdict(list)
    os.environ[UNDER_TEST] = "stats"
    for number, test in enumerate(tests):
        mutmut._stats.clear()
        began = time.process_time()
        if not passes(test):
            raise pytest.UsageError(f"{test.nodeid} fails although nothing was changed")
        spent = time.process_time() - began
        for function in mutmut._stats:
            touched[function].append((spent, number))
    return {
        function: Touched([tests[number] for _, number in sorted(found)], sum(spent for spent, _ in found))
        for function, found in touched.items()
    }


def passes(test: pytest.Item) -> bool:
    """Set up, called, torn down, as if it were the only one. After a failure nothing is torn down or reported."""
    test._initrequest()  # type: ignore[attr-defined]
    try:
        test.ihook.pytest_runtest_setup(item=test)
        test.ihook.pytest_runtest_call(item=test)
        test.ihook.pytest_runtest_teardown(item=test, nextitem=None)
    except pytest.skip.Exception:
        return True
    except BaseException:  # noqa: BLE001 - of whatever kind: pytest's own are no Exceptions
        return False
    return True


def _born(mutant: str, found: Touched) -> Child:
    """A child that ends with 1 as soon as a test fails, with 0 if none does."""
    said, says = os.pipe()
    pid = os.fork()
    if pid:
        os.close(says)
        return Child(pid, mutant, found, said)
    code = 70
    try:
        limit = math.ceil(time.process_time() + CPU_SECONDS_MIN + CPU_FACTOR * found.seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(WALL_SECONDS_MAX)
        gc.disable()
        os.environ[UNDER_TEST] = mutant
        failed = next((test.nodeid for test in found.tests if not passes(test)), "")
        os.write(says, failed.encode())
        code = 1 if failed else 0
    finally:
        os._exit(code)


def _reap(running: dict[int, Child], plan: Plan) -> None:
    """What killed one change of a function is likely to kill the next: it is tried first from now on."""
    pid, status = os.wait()
    child = running.pop(pid)
    plan.outcomes[child.mutant] = OUTCOMES.get(os.waitstatus_to_exitcode(status), "crashed")
    with os.fdopen(child.said, encoding="utf-8") as pipe:
        failed = pipe.read()
    child.found.tests.sort(key=lambda test: test.nodeid != failed)
