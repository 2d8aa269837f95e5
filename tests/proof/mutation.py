"""Mutation testing of what decides: every small change to it, one at a time in a copy, must fail a fast test (mutmut)."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.checkout import copy_to
from tests.proof.mutation_plan import Plan

HOURS_MAX = 6
CHILDREN_DEFAULT = 2
KILLED = frozenset({"killed", "timeout", "crashed"})


class Group(NamedTuple):
    """Modules, and the tests that must notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "chain": Group(("services/projections/chain.py",), ("tests/unit/projections/test_chain.py",)),
    "scan": Group(
        ("services/ledger/relay/scan.py",),
        ("tests/unit/ledger/test_scan.py", "tests/unit/ledger/test_relay_takeover.py"),
    ),
    "receipts": Group(
        ("services/ledger/batches/receipts.py", "services/ledger/batches/wrapping.py"),
        (
            "tests/unit/ledger/test_receipts.py", "tests/unit/ledger/test_batch.py",
            "tests/unit/ledger/test_batch_keys.py", "tests/unit/ledger/test_wrapping.py",
            "tests/unit/ledger/test_facts_whole.py",
        ),
    ),
    "fence": Group(
        ("services/ledger/batches/settling.py", "services/ledger/ownership.py"),
        (
            "tests/unit/ledger/test_ownership.py", "tests/unit/ledger/test_settling.py",
            "tests/unit/ledger/test_settling_again.py", "tests/unit/ledger/test_worker_tells.py",
            "tests/unit/ledger/test_worker_ownership.py", "tests/unit/ledger/test_acknowledge.py",
            "tests/unit/ledger/test_worker_positions.py", "tests/unit/ledger/test_worker_answers.py",
            "tests/unit/ledger/test_worker_sharing.py",
        ),
    ),
    "customer": Group(
        tuple(f"services/ledger/domain/{name}.py" for name in ("customer", "changes", "together", "states")),
        (
            "tests/unit/ledger/test_customer.py", "tests/unit/ledger/test_customer_laws.py",
            "tests/unit/ledger/test_changes.py", "tests/unit/ledger/test_bulk.py",
            "tests/unit/ledger/test_states.py", "tests/unit/ledger/test_requests_whole.py",
        ),
    ),
    "upstream": Group(
        tuple(
            f"services/ledger/domain/{name}.py"
            for name in (
                "upstream", "foreign", "rules", "teller", "refunds", "settlements", "invoice", "requests", "given",
            )
        ),
        (
            "tests/unit/ledger/test_upstream.py", "tests/unit/ledger/test_upstream_laws.py",
            "tests/unit/ledger/test_refunds.py", "tests/unit/ledger/test_settlements.py",
            "tests/unit/ledger/test_changes.py", "tests/unit/ledger/test_foreign.py",
            "tests/unit/ledger/test_facts_whole.py", "tests/unit/ledger/test_requests_whole.py",
        ),
    ),
}  # fmt: skip
"""The pure and the fast: SQL of the fence is in the contract suites, which need a server."""

CONFIG = """
[tool.mutmut]
source_paths = ["services"]
only_mutate = {modules}
also_copy = ["events", "deploy", "benchmarks", "tests"]
"""
UNREACHABLE = frozenset({"case _:", "assert_never(ask)", "assert_never(fact)"})
"""mypy holds that nothing comes there: to change or to leave out nothing but this changes nothing."""
PYTEST = (
    "-m", "pytest", "-q", "-s", "--assert=plain", "-k", "not thousands",
    "-p", "asyncio", "-p", "tests.proof.mutation_pytest",
    *(word for plugin in ("cacheprovider", "timeout", "logging", "warnings", "unraisableexception", "threadexception")
      for word in ("-p", f"no:{plugin}")),
)  # fmt: skip
"""Only what each of thousands of runs needs."""


class Mutated(NamedTuple):
    """Counts by outcome, and the changes that no test noticed, as differences."""

    group: str
    counts: Counter[str]
    survivors: dict[str, str]
    error: str = ""

    @property
    def line(self) -> str:
        """For a person."""
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items()))
        return f"{self.group}: {self.counts.total()} mutants: {said}{self.error}"


def mutate(name: str, children: int = CHILDREN_DEFAULT) -> Mutated:
    """One group, in a copy of the code."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as place:
        folder = Path(place)
        lay_out(folder, GROUPS[name])
        return run(folder, name, children)


def lay_out(folder: Path, group: Group) -> None:
    """A copy of the code with its mutants."""
    copy_to(folder)
    with (folder / "pyproject.toml").open("a") as file:
        file.write(CONFIG.format(modules=_list(group.modules)))
    _python(folder, "-m", "tests.proof.mutation_made", *group.modules)


def run(folder: Path, name: str, children: int, mutants: Sequence[str] = ()) -> Mutated:
    """All mutants, or these."""
    changes = msgspec.json.decode((folder / "mutants.json").read_bytes(), type=dict[str, str])
    reachable = [mutant for mutant, change in changes.items() if not changes_nothing(change)]
    plan = folder / "plan.json"
    plan.write_bytes(msgspec.json.encode(Plan(list(mutants) or reachable, children)))
    environment = {"MUTATION_PLAN": str(plan), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said = _python(folder / "mutants", *PYTEST, *GROUPS[name].tests, **environment)
    outcomes = msgspec.json.decode(plan.read_bytes(), type=Plan).outcomes
    if not outcomes:
        return Mutated(name, Counter(), {}, f"no mutants ran:\n{said[-2_000:]}")
    counts = Counter(outcomes.values()) + Counter(unreachable=0 if mutants else len(changes) - len(reachable))
    left = sorted(mutant for mutant, outcome in outcomes.items() if outcome not in KILLED)
    return Mutated(
        name, counts, {mutant: f"{mutant}: {outcomes[mutant]}\n{changes[mutant]}" for mutant in left}
    )


def changes_nothing(change: str) -> bool:
    """Whether only what is unreachable is changed."""
    return {line[1:].strip() for line in change.splitlines() if line.startswith("-")} <= UNREACHABLE


def _python(folder: Path, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HOURS_MAX * 3600, check=False,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or GROUPS:
        found = mutate(chosen)
        print(found.line, *found.survivors.values(), sep="\n", flush=True)
