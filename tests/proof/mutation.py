"""Mutation testing of what decides: every small change to it, one at a time in a copy, must fail a fast test (mutmut)."""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.checkout import copy_to

HOURS_MAX = 6
CHILDREN_DEFAULT = 2
KILLED = frozenset({"killed", "timeout", "segfault"})


class Group(NamedTuple):
    """Modules, and the tests that must notice."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "chain": Group(("services/projections/chain.py",), ("tests/unit/projections/test_chain.py",)),
    "scan": Group(
        ("services/ledger/scan.py",),
        ("tests/unit/ledger/test_scan.py", "tests/unit/ledger/test_relay_takeover.py"),
    ),
    "receipts": Group(
        ("services/ledger/receipts.py", "services/ledger/wrapping.py"),
        (
            "tests/unit/ledger/test_receipts.py", "tests/unit/ledger/test_batch.py",
            "tests/unit/ledger/test_batch_keys.py", "tests/unit/ledger/test_upstream.py",
        ),
    ),
    "fence": Group(
        ("services/ledger/settling.py", "services/ledger/ownership.py"),
        (
            "tests/unit/ledger/test_settling.py", "tests/unit/ledger/test_worker_ownership.py",
            "tests/unit/ledger/test_worker_positions.py", "tests/unit/ledger/test_worker_answers.py",
            "tests/unit/ledger/test_worker_sharing.py",
        ),
    ),
    "customer": Group(
        tuple(f"services/ledger/domain/{name}.py" for name in ("customer", "changes", "teller", "together", "states")),
        (
            "tests/unit/ledger/test_customer.py", "tests/unit/ledger/test_customer_laws.py",
            "tests/unit/ledger/test_changes.py", "tests/unit/ledger/test_settlements.py",
        ),
    ),
    "upstream": Group(
        tuple(
            f"services/ledger/domain/{name}.py"
            for name in ("upstream", "foreign", "rules", "refunds", "settlements", "invoice", "requests", "given")
        ),
        (
            "tests/unit/ledger/test_upstream.py", "tests/unit/ledger/test_upstream_laws.py",
            "tests/unit/ledger/test_refunds.py", "tests/unit/ledger/test_settlements.py",
        ),
    ),
}  # fmt: skip
"""The pure and the fast: SQL of the fence is in the contract suites, which need a server."""

CONFIG = """
[tool.mutmut]
source_paths = ["services"]
only_mutate = {modules}
also_copy = ["events", "deploy", "benchmarks", "tests"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "tests.proof.mutation_pytest", "-p", "no:cacheprovider"]
"""


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
    group = GROUPS[name]
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as place:
        folder = Path(place)
        copy_to(folder)
        with (folder / "pyproject.toml").open("a") as file:
            file.write(CONFIG.format(modules=_list(group.modules), tests=_list(group.tests)))
        done = _mutmut(folder, "run", "--max-children", str(children))
        outcomes = dict(
            re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", _mutmut(folder, "results", "--all", "true"), re.M)
        )
        if not outcomes:
            return Mutated(name, Counter(), {}, f"no mutants ran:\n{done[-2_000:]}")
        left = sorted(mutant for mutant, outcome in outcomes.items() if outcome not in KILLED)
        survivors = {mutant: _mutmut(folder, "show", mutant) for mutant in left}
        return Mutated(name, Counter(outcomes.values()), survivors)


def _mutmut(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HOURS_MAX * 3600, check=False,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or GROUPS:
        found = mutate(chosen)
        print(found.line, *found.survivors.values(), sep="\n", flush=True)
