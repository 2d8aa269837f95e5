"""The figures as a table for people and as JSON for machines."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from benchmarks.load import Latency
from benchmarks.scenarios import TIMES_BASELINE, Target

WIDTH = 200
"""Of the table where it is not shown on a terminal, whose width would be known."""


class Result(Struct, kw_only=True):
    """One row. `cpu_percent`: 100 is one core. `machine_cpu_percent` beyond their sum is
    what else ran here, and disturbed. `stale`: 200s that came before the read models had the write. `verify_us`: how fast
    the processor was just afterwards."""

    name: str
    clients: int | None = None
    wallets: int | None = None
    processes: dict[str, int]
    wait_mode: str = "none"
    seconds: float
    count: int
    rate: float
    latency_ms: Latency | None = None
    answers: dict[str, int] = {}
    overdrafts_sent: int = 0
    stale: int = 0
    unanswered: int = 0
    commands_per_commit: float | None = None
    cpu_percent: dict[str, float] = {}
    generator_cpu_percent: float | None = None
    machine_cpu_percent: float = 0.0
    verify_us: float
    target: str = ""
    reached: bool | None = None


def reached(target: Target, rate: float, latency: Latency | None) -> bool | None:
    """None where nothing is demanded."""
    demands = [rate >= target.rate] if target.rate else []
    if latency is not None:
        demands += [latency.p50 <= target.p50_ms] if target.p50_ms else []
        demands += [latency.p99 <= target.p99_ms] if target.p99_ms else []
    return all(demands) if demands else None


def write(file: Path, head: dict[str, Any], results: list[Result], checks: dict[str, Any]) -> None:
    """Everything of one run."""
    content = {
        **head,
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "results": to_builtins(results),
        "hot_against_baseline": against_baseline(results),
        "checks": checks,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def show(results: list[Result], checks: dict[str, Any]) -> None:
    """A row per scenario; what each process cost stands in the last column."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    table = Table("scenario", title="wallet ledger: one command per request, durable before its answer")
    for name in ("rate/s", "p50 ms", "p90", "p99", "max", "200", "400", "other", "per commit", "verify us"):
        table.add_column(name, justify="right")
    for name in ("to reach", "", "cpu %"):
        table.add_column(name)
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    if (times := against_baseline(results)) is not None:
        verdict = "[green]yes" if times >= TIMES_BASELINE else "[red]no"
        console.print(
            f"hot wallet, 128 clients: {times:.1f} times the baseline (>= {TIMES_BASELINE:g}) {verdict}"
        )
    for title, found in checks.items():
        console.print(f"{title}: {', '.join(f'{name} {value:,}' for name, value in found.items())}")


def against_baseline(results: list[Result]) -> float | None:
    """The better of one and two processes of the baseline counts."""
    ours = [result.rate for result in results if result.name == "write-128-hot"]
    theirs = [result.rate for result in results if result.name.startswith("baseline-128-hot")]
    return round(ours[0] / max(theirs), 2) if ours and theirs else None


def _cells(result: Result) -> list[str]:
    latency = result.latency_ms
    times = [f"{value:.1f}" for value in to_builtins(latency).values()] if latency else [""] * 4
    known = {"200", "400"}
    other = {status: count for status, count in result.answers.items() if status not in known}
    if result.unanswered:
        other["none"] = result.unanswered
    if result.stale:
        other["stale"] = result.stale
    cpu = {
        **result.cpu_percent,
        **({"generator": result.generator_cpu_percent} if result.generator_cpu_percent else {}),
    }
    cpu["else"] = max(0.0, result.machine_cpu_percent - sum(cpu.values()))
    mark = {True: "[green]yes", False: "[red]no", None: ""}[result.reached]
    return [
        result.name,
        f"{result.rate:,.0f}",
        *times,
        f"{result.count:,}",
        f"{result.answers.get('400', 0):,}",
        " ".join(f"{status}:{count:,}" for status, count in other.items()),
        f"{result.commands_per_commit:g}" if result.commands_per_commit else "",
        f"{result.verify_us:.0f}",
        result.target,
        mark,
        " ".join(f"{name}:{value:.0f}" for name, value in cpu.items() if value >= 1),
    ]
