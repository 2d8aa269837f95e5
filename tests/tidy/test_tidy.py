"""House rules that a machine can hold: banned calls, sizes, and no trace of the machine it was written on.

An exception has a reason or a size here; a size is a ratchet, it only goes down.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from services.logs import FORBIDDEN

ROOT = Path(__file__).resolve().parents[2]
CODE = ("events", "services", "deploy", "benchmarks")
FUNCTION_LINES_MAX = 40
MODULE_LINES_MAX = 250


class Ban(NamedTuple):
    """Names that must not be called or used outside of these files."""

    names: frozenset[str]
    instead: str
    allowed: frozenset[str]


def ban(names: str, instead: str, allowed: str) -> Ban:
    return Ban(frozenset(names.split()), instead, frozenset(allowed.split()))


BANS = [
    ban(
        "datetime.now datetime.utcnow datetime.today date.today time.time time.time_ns",
        "the clock is an argument; only roots and edges read it",
        """
        benchmarks/__main__.py benchmarks/report.py benchmarks/growth/__main__.py benchmarks/growth/loader.py
        services/api/gateway.py services/api/health.py services/api/keys.py
        services/console/heads.py services/console/keys.py services/console/letters.py services/console/upstream.py
        services/console/webhooks.py
        services/intake/__main__.py services/ledger/__main__.py
        services/projections/writer.py
        """,
    ),
    ban(
        "uuid4 uuid.uuid4 uuid1 uuid.uuid1",
        "identifiers follow from what they name (events/ids.py)",
        "services/migrate.py",  # a ledger's own name, made once
    ),
    ban(
        "os.environ os.getenv",
        "settings are read by services/settings.py",
        """
        deploy/bootstrap.py services/api/metrics.py
        services/standalone/jars.py services/standalone/kafka.py services/standalone/environment.py
        services/standalone/postgres.py
        """,  # for children, and for a library that has no other way
    ),
    ban(
        "float",
        "money is whole minor units; seconds and rates only, in these files",
        """
        benchmarks/meter.py services/api/auth.py services/api/gateway.py services/api/queries/keyed.py
        services/pace.py services/ledger/worker.py
        """,
    ),
    ban(
        "print",
        "services log by structlog; only command lines print",
        """
        benchmarks/__main__.py benchmarks/rebuild.py benchmarks/growth/__main__.py benchmarks/growth/loader.py
        deploy/audit.py deploy/bootstrap.py events/generate.py
        services/cli.py services/console/heads.py services/console/keys.py services/console/projections.py
        services/console/letters.py services/console/recovery.py services/console/tail.py services/console/verification.py
        services/console/upstream.py services/console/webhooks.py
        services/standalone/__main__.py
        """,
    ),
]

LONG_MODULES = {
    "deploy/bootstrap.py": 260,
    "services/ledger/batches/batch.py": 277,
}
LONG_FUNCTIONS = {
    "benchmarks/__main__.py::bench": 47,
    "services/migrations/store/0001_event_store.py::upgrade": 63,
    "services/migrations/views/0001_read_models.py::upgrade": 112,
}
HERE_ONLY = re.compile(
    "|".join(
        (
            r"(?<![\w.])/(?:root|work|workspace|home/\w+|Users/\w+)/",
            r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2}\b",
            r"(?:extra-)?index-url\s*[= ]",
        )
    )
)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours by its path."""
    paths = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}


def used(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Dotted names that are called, or looked into, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.lineno
        elif isinstance(node, ast.Attribute):
            yield dotted(node), node.lineno


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize("rule", BANS, ids=lambda rule: min(rule.names))
def test_banned_names_are_not_used(rule: Ban) -> None:
    found = {
        f"{path}:{line} {name}: {rule.instead}"
        for path, tree in modules().items()
        for name, line in used(tree)
        if name in rule.names and path not in rule.allowed
    }
    assert not found


def test_no_log_line_names_a_field_that_is_hidden() -> None:
    """It would say nothing, for ever."""
    calls = [
        (f"{path}:{node.lineno}", {keyword.arg for keyword in node.keywords})
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func).startswith("log.")
    ]
    assert len(calls) > 50
    assert not [place for place, names in calls if names & FORBIDDEN]


@pytest.mark.parametrize("rule", BANS, ids=lambda rule: min(rule.names))
def test_exceptions_are_still_needed(rule: Ban) -> None:
    users = {path for path, tree in modules().items() for name, _ in used(tree) if name in rule.names}
    assert not rule.allowed - users, "take them off the list"


def _sizes() -> tuple[dict[str, int], dict[str, int]]:
    long_modules, long_functions = {}, {}
    for path, tree in modules().items():
        lines = len((ROOT / path).read_text().splitlines())
        if lines > MODULE_LINES_MAX:
            long_modules[path] = lines
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long_functions[f"{path}::{node.name}"] = lines
    return long_modules, long_functions


@pytest.mark.parametrize(
    ("kind", "known"), [(0, LONG_MODULES), (1, LONG_FUNCTIONS)], ids=["modules", "functions"]
)
def test_nothing_grows_too_long(kind: int, known: dict[str, int]) -> None:
    found = _sizes()[kind]
    too_long = {name: lines for name, lines in found.items() if lines > known.get(name, 0)}
    assert not too_long, "split it; the list only holds what was longer before"
    assert not known.keys() - found.keys(), "no longer too long: take it off the list"


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = []
    for path in _tracked() or [ROOT / name for name in modules()]:
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        if path != Path(__file__).resolve():
            found += [
                f"{path.relative_to(ROOT)}:{number}: {match[0]}"
                for number, line in enumerate(lines, 1)
                if (match := HERE_ONLY.search(line))
            ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "see /home/ana/notes",
        'open("/home/ann/x")',
        "cd /workspace/ledger",
        "host 10.1.2.3",
        "192.168.0.7:9092",
        "--index-url https://x",
    ],
)
def test_traces_are_recognised(line: str) -> None:
    assert HERE_ONLY.search(line)


@pytest.mark.parametrize(
    "line", ["127.0.0.1:9092", "a/root/b", "/workers/", "version 10.1.2", "https://example.com/home/"]
)
def test_other_paths_are_not(line: str) -> None:
    assert not HERE_ONLY.search(line)
