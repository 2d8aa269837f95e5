"""The sweep as a part of `make prove`: progress, what is told, and the table in docs/proof.md."""

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.faults import Kind, drawn
from tests.chaos.hurting import Hurt
from tests.chaos.sweep import Swept, sweep

FAULTS = 200
PER_SECOND = 150
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "proof.md"
BROKEN_SHOWN_MAX = 10
Report = dict[str, Any]


def run(seed: int, faults: int, minutes: float, rate: int, console: Console) -> Report:
    """So many faults, with a bar, and what came of them."""
    console.print(f"-- sweep: {faults} faults on real processes, servers, links and disks, {rate} requests/s")
    load_before = os.getloadavg()[0]
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=faults)
        swept = sweep(
            seed,
            rate,
            drawn(seed, faults),
            tell=lambda hurt: progress.update(bar, advance=1, description=hurt.fault.kind.name),
            minutes=minutes,
        )
    report = told(swept, [load_before, os.getloadavg()[0]])
    console.print(*table(report), sep="\n")
    for line in swept.broken[:BROKEN_SHOWN_MAX]:
        console.print(f"BROKEN: {line}")
    if swept.logs:
        console.print(f"logs are in {swept.logs}")
    return report


def told(swept: Swept, load: Sequence[float]) -> Report:
    """All of it, as JSON has it."""
    verdict = asdict(swept.verdict)
    return {
        "kept": not swept.broken,
        "broken": swept.verdict.broken,
        "late": swept.late,
        "silence_seconds": round(swept.silence, 1),
        "per_second": swept.rate,
        "seed": swept.seed,
        "faults": len(swept.hurts),
        "possible": swept.done,
        "requests": sum(swept.last_words.values()),
        "attempts": swept.attempts,
        "seconds": round(swept.seconds, 1),
        "last_words": swept.last_words,
        "restarts": swept.restarts,
        "logs": swept.logs,
        **{name: verdict[name] for name in ("events", "acknowledged", "top_ups", "lost", "doubled")},
        "kinds": [_kind(kind, hurts) for kind, hurts in _by_kind(swept.hurts).items()],
        "hurts": [_hurt(hurt) for hurt in swept.hurts],
        "machine": machine(load),
    }


def machine(load: Sequence[float]) -> Report:
    """Where it was, and how busy that was: without it times say nothing."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else "?",
        "cores": psutil.cpu_count(),
        "load_average": [round(one, 1) for one in load],
    }


def table(report: Report) -> list[str]:
    """For the document and for a person."""
    where = report["machine"]
    loads = " before, ".join(f"{one:g}" for one in where["load_average"])
    seconds = f"{report['silence_seconds']:g} s"
    lines = [
        f"Seed {report['seed']}: {report['possible']} faults in {report['seconds'] / 60:.0f} minutes "
        f"at {report['per_second']} requests/s, "
        f"{report['requests']:,} requests with keys in {report['attempts']:,} attempts, {report['top_ups']:,} top-ups "
        f"told by upstream, {report['events']:,} events.",
        f"Acknowledged {report['acknowledged']:,}: lost {report['lost']}, doubled {report['doubled']}. "
        f"Promises about money, events and answers that were broken: {len(report['broken'])}. Times that were longer than "
        f"promised: {len(report['late'])}.",
        f"{where['cores']} cores of {where['cpu']}, load average {loads} after.",
        "",
        "| fault | times | all shards answer again after: median, worst | promised | reads are up again: worst |",
        "|---|---|---|---|---|",
    ]
    for kind in report["kinds"]:
        if kind["median"] is None:
            lines.append(f"| {kind['name']} | {kind['times']} | not possible here | | |")
            continue
        median, worst = (
            f"< {seconds}" if one == 0 else f"{one:.1f} s" for one in (kind["median"], kind["worst"])
        )
        lines.append(
            f"| {kind['name']} | {kind['times']} | {median}, {worst} | {kind['limit']:.0f} s | {kind['reads']:.1f} s |"
        )
    return lines


def write(name: str, lines: Sequence[str], document: Path = DOCUMENT) -> None:
    """Between the marks of that name.

    Raises:
        ValueError: the document has no such marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, begun, rest = document.read_text().partition(begin)
    _, ended, tail = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{document} has no place for {name}")
    document.write_text("\n".join([head + begin, "", *lines, "", end + tail]))


def _by_kind(hurts: Sequence[Hurt]) -> dict[Kind, list[Hurt]]:
    found: dict[Kind, list[Hurt]] = defaultdict(list)
    for hurt in sorted(hurts, key=lambda one: one.fault.kind.target):
        found[hurt.fault.kind].append(hurt)
    return found


def _kind(kind: Kind, hurts: Sequence[Hurt]) -> Report:
    answers = [hurt.answers for hurt in hurts if hurt.answers is not None]
    return {
        "name": kind.name,
        "times": len(hurts),
        "median": round(statistics.median(answers), 2) if answers else None,
        "worst": round(max(answers), 2) if answers else None,
        "reads": round(max((hurt.reads or 0.0 for hurt in hurts), default=0.0), 2),
        "limit": kind.limit,
        "late": sum(hurt.late for hurt in hurts),
    }


def _hurt(hurt: Hurt) -> Report:
    fault = hurt.fault
    return {
        "at": round(hurt.at, 1),
        "fault": fault.kind.name,
        "seconds": round(fault.seconds, 2),
        "lasted": round(hurt.lasted, 2),
        "in_flight": hurt.in_flight,
        "answers": None if hurt.answers is None else round(hurt.answers, 2),
        "reads": None if hurt.reads is None else round(hurt.reads, 2),
        **({"note": hurt.note} if hurt.note else {}),
    }
