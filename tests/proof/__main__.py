"""`make prove`: the promises under a model, under simulated faults, against the running service, and with bugs put back.

Every run prints its seed; `--seed` repeats it. `python -m tests.proof simulation --seed 7 --histories 1` is one history.
"""

import argparse
import asyncio
import json
import math
import os
import random
import signal
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.proof import abuse, bugs, dealing, model, mutation, races, refunding, service, soak, sweeping
from tests.proof.checker import check
from tests.proof.explore import Found, explore, smallest, told

HISTORIES = 10_000
BROKEN_SHOWN_MAX = 3
PARTS = ("model", "simulation", "service", "races", "abuse", "sweep", "bugs")
LONG = ("mutation", "soak")
"""Only when named."""

DEBITS = 20_000
RETRIES = 2_000
Report = dict[str, Any]


def main(words: list[str]) -> int:
    """0 when every promise was kept, and every bug that was put back was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)}; all of them unless named; and {', '.join(LONG)}",
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**8))
    parser.add_argument("--histories", type=int, help=f"of the simulation ({HISTORIES:,} unless said)")
    parser.add_argument(
        "--minutes", type=float, help=f"of simulation, sweep, soak ({soak.MINUTES:g} unless said)"
    )
    parser.add_argument("--rate", type=int, default=0, help="requests/s of sweep or soak")
    parser.add_argument("--debits", type=int, default=DEBITS, help=f"of the races ({DEBITS:,} unless said)")
    parser.add_argument("--retries", type=int, default=RETRIES, help=f"of refunds ({RETRIES:,} unless said)")
    parser.add_argument("--cases", type=int, default=abuse.CASES, help="of abuse, for each operation")
    parser.add_argument(
        "--faults", type=int, default=sweeping.FAULTS, help=f"of the sweep ({sweeping.FAULTS} unless said)"
    )
    parser.add_argument("--write-report", action="store_true", help="write tables into docs/proof.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", action="store_true", help="stop at the first broken promise")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    given = parser.parse_args(words)
    if unknown := set(given.parts) - {*PARTS, *LONG}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    console = Console(stderr=given.json, highlight=False, soft_wrap=True)
    console.print(f'seed {given.seed}; make prove ARGS="--seed {given.seed}" repeats this run')
    parts = {
        "model": _model, "simulation": _simulation, "service": _service, "races": _races, "abuse": _abuse,
        "sweep": _sweep, "bugs": _bugs, "mutation": _mutation, "soak": _soak,
    }  # fmt: skip
    report: Report = {"seed": given.seed}
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what it started ends
    for part in parts:
        if part in (given.parts or PARTS):
            report[part] = parts[part](given, console)
    if given.json:
        print(json.dumps(report, indent=2))
    return 0 if all(report[part]["kept"] for part in parts if part in report) else 1


def _model(given: argparse.Namespace, console: Console) -> Report:
    steps = model.MANY
    console.print(f"-- model: the pure core against the oracle, at least {steps:,} steps")
    done, broken = model.core(given.seed, steps)
    console.print(f"{done:,} steps; " + (f"BROKEN\n{broken}" if broken else "no difference"))
    return {"kept": broken is None, "steps": done, "broken": broken}


def _service(given: argparse.Namespace, console: Console) -> Report:
    console.print("-- service: real processes, asked through HTTP and Kafka, against the oracle")
    done, broken = dealing.service(given.seed, service.MANY)
    console.print(f"{done:,} steps; " + (f"BROKEN\n{broken}" if broken else "no difference"))
    return {"kept": broken is None, "steps": done, "broken": broken}


def _races(given: argparse.Namespace, console: Console) -> Report:
    console.print(
        f"-- races: {races.CLIENTS} clients, wallets that can pay for half, a tenth asked twice at once; "
        "refunds of more than was paid, each key about five times"
    )
    with service.started() as machine:
        system, url = machine.service.system, machine.service.url
        raced = asyncio.run(races.race(system, url, given.seed, given.debits))
        refunded = asyncio.run(refunding.race(system, url, given.seed, given.retries))
    broken = raced.broken + refunded.broken
    console.print(raced.line, refunded.line, sep="\n")
    for line in broken[:BROKEN_SHOWN_MAX]:
        console.print(f"BROKEN: {line}")
    return {"kept": not broken, "told": raced.line, "refunds": refunded.line, "broken": broken}


def _abuse(given: argparse.Namespace, console: Console) -> Report:
    console.print(
        f"-- abuse: every operation x every wrong caller, and {given.cases:,} generated requests to each"
    )
    with service.started(command_deadline_seconds=abuse.DEADLINE_SECONDS) as machine:
        matrix = abuse.try_all(machine.service)
        console.print(f"{matrix.cells} cells of the matrix, {len(matrix.broken)} broken")
        fuzzed = abuse.hammer(machine.service, given.seed, given.cases)
    console.print(fuzzed.line)
    broken = matrix.broken + fuzzed.broken
    for line in broken[:BROKEN_SHOWN_MAX]:
        console.print(f"BROKEN: {line}")
    return {"kept": not broken, "cells": matrix.cells, "told": fuzzed.line, "broken": broken}


def _sweep(given: argparse.Namespace, console: Console) -> Report:
    rate = given.rate or sweeping.PER_SECOND
    report = sweeping.run(given.seed, given.faults, given.minutes or math.inf, rate, console)
    if given.write_report:
        sweeping.write("sweep", sweeping.table(report))
    return report


def _soak(given: argparse.Namespace, console: Console) -> Report:
    minutes = soak.MINUTES if given.minutes is None else given.minutes
    report, picture = soak.run(given.seed, minutes, given.rate, console)
    for line in report["broken"]:
        console.print(f"BROKEN: {line}")
    if given.write_report:
        soak.PICTURE.write_text(picture)
        sweeping.write("soak", soak.table(report))
    return report


def _simulation(given: argparse.Namespace, console: Console) -> Report:
    console.print(
        "-- simulation: api gateway, worker, relay and projector in one thread, with faults at await points"
    )
    seconds = None if given.minutes is None else given.minutes * 60
    histories = given.histories or (None if seconds is not None else HISTORIES)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=histories)

        def tell(found: Found) -> None:
            words = f"{len(found.fired)} squares, {len(found.broken)} broken"
            progress.update(bar, completed=found.histories, description=words)

        found = explore(given.seed, histories, seconds, given.jobs, given.first, tell)
    _tell(found, console)
    if not given.json:
        _show(found, console)
    return _told(found)


def _tell(found: Found, console: Console) -> None:
    answers = ", ".join(f"{count:,} {kind}" for kind, count in found.answers.most_common())
    console.print(f"{found.histories:,} histories in {found.seconds:.1f} s, {_a_minute(found):,} a minute")
    console.print(f"{found.answers.total():,} requests: {answers}")
    all_cells = len(found.fired) + len(found.uncovered)
    console.print(f"(await point x fault): {len(found.fired)} / {all_cells} covered")
    for cell in found.uncovered:
        console.print(f"  not covered: {cell}")
    console.print(f"fingerprint {found.fingerprint}")
    console.print(f"{len(found.broken)} histories broke a promise")
    for lived in found.broken:
        console.print(f"  seed {lived.seed}: {lived.promise}")


def _show(found: Found, console: Console) -> None:
    """Broken promises, each by a history made as small as it can be."""
    for lived in found.broken[:BROKEN_SHOWN_MAX]:
        small = smallest(lived.seed)
        console.print(f"BROKEN: {check(small)}", *told(small), sep="\n")
        again = f"simulation --seed {lived.seed} --histories 1"
        console.print(f'  the whole of it: make prove ARGS="{again}"')


def _told(found: Found) -> Report:
    return {
        "kept": not found.broken,
        "histories": found.histories,
        "seconds": round(found.seconds, 1),
        "histories_a_minute": _a_minute(found),
        "answers": dict(found.answers),
        "covered": len(found.fired),
        "uncovered": [str(cell) for cell in found.uncovered],
        "fingerprint": found.fingerprint,
        "broken": [{"seed": lived.seed, "promise": lived.promise} for lived in found.broken],
    }


def _a_minute(found: Found) -> int:
    return round(found.histories * 60 / max(found.seconds, 0.1))


def _bugs(given: argparse.Namespace, console: Console) -> Report:
    console.print("-- bugs put back, one at a time, in a copy: how soon is each found?")
    results = []
    for result in bugs.hunt(given.seed, given.jobs):
        console.print(f"  {result.line}")
        results.append(result._asdict())
    return {"kept": all(result["promise"] for result in results), "bugs": results}


def _mutation(given: argparse.Namespace, console: Console) -> Report:
    console.print(
        "-- mutation: what decides, changed in one place at a time, in a copy: does a fast test fail?"
    )
    groups: dict[str, dict[str, Any]] = {}
    for name in mutation.GROUPS:
        found = mutation.mutate(name, given.jobs)
        console.print(found.line, *found.survivors.values(), sep="\n", markup=False)
        groups[name] = {"counts": dict(found.counts), "survivors": found.survivors}
    noticed = all(group["counts"].get("killed") for group in groups.values())  # else nothing was changed
    return {"kept": noticed, "groups": groups}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
