"""`python -m benchmarks.growth`, or `make bench-growth`: what a grown ledger costs more than a young one.

The same things are measured at one hundredth of the size and at the full size. Load, servers and clients share this
machine. It takes long and much disk: about 4 KB for each entry.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import host
from benchmarks.growth import growing, measures
from benchmarks.growth.figures import Figures, write
from benchmarks.stage import Stage
from services.standalone.process import StandaloneError

RESULTS = Path(__file__).parents[1] / "results"


def main(
    customers: Annotated[int, typer.Option(min=10_000, help="At full size.")] = 1_000_000,
    entries: Annotated[int, typer.Option(min=1, help="Of each customer.")] = 10,
    seconds: Annotated[float, typer.Option(help="Of each measurement, three times.")] = 3.0,
    output: Annotated[
        Path | None, typer.Option(help="JSON; default: benchmarks/results/growth-<time>.json.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the servers keep data.")] = None,
) -> None:
    """Grow a ledger, measure it young and old, compare, and check that its wallets are what its entries say."""
    began = datetime.now(UTC)
    file = output or RESULTS / f"growth-{began:%Y-%m-%dT%H%M%SZ}.json"
    try:
        with Stage(data_dir, 1) as stage:
            stage.start_kafka()
            sizes = (customers // 100, customers)
            found, grown = [], 0
            for size in sizes:
                found.append(_at(stage, grown, size, entries, seconds))
                grown = size
            head = {"began_at": began.isoformat(timespec="seconds"), "git": host.commit()}
            head |= {"machine": host.machine(stage), "versions": host.versions(stage)}
            write(file, head | {"durability": host.durability(stage)}, sizes, found)
            growing.check(stage)
            print(f"written to {file}", file=sys.stderr)
    except StandaloneError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _at(stage: Stage, grown: int, size: int, entries: int, seconds: float) -> Figures:
    """Grow to a size, then measure."""
    stage.stop("api", "ledger", "projections")
    loading = _timed(lambda: growing.grow(stage, grown, size, entries))
    rebuilding = _timed(lambda: growing.rebuild(stage))
    growing.tidy(stage)
    starting = {"start-up": _timed(lambda: stage.start("ledger"))}
    stage.start("projections", "api")
    ms, cpu = measures.commands(stage, size, seconds)
    ms |= measures.reads(stage, size, seconds)
    starting |= measures.take_overs(stage)
    rows, sizes = growing.sizes(stage)
    return Figures(rows, sizes, loading, rebuilding, ms, cpu, starting)


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 2)


if __name__ == "__main__":
    typer.run(main)
