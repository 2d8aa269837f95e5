"""`python -m benchmarks.rebuild`: how fast read models are made again, and that they are the same.

Events come into being as always, by commands through the ledger; the live projections are the measure.
"""

import json
import resource
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import backlog
from benchmarks.stage import Stage
from events.ids import derived
from services.projections.digests import Digests, digests
from services.standalone.environment import environment
from services.standalone.machine import CLI

BALANCE = 1_000_000_000


def main(
    events: Annotated[int, typer.Option(min=1_000, help="How many, at least.")] = 300_000,
    customers: Annotated[int, typer.Option(min=1)] = 20_000,
    processes: Annotated[int, typer.Option(min=0, help="Of the rebuild; 0: one per core.")] = 0,
    runs: Annotated[int, typer.Option(min=1)] = 3,
    data_dir: Annotated[Path | None, typer.Option(help="Where the servers keep data.")] = None,
) -> None:
    """Print, as JSON, each run of the rebuild, and whether all digests were equal."""
    with Stage(data_dir, 1) as stage:
        _fill(stage, events, [derived("cus_", f"bench {number}") for number in range(customers)])
        live = digests(stage.dsn("views"))
        stage.stop("ledger", "projections")
        command = [*CLI, "projections", "rebuild", "--json", "--processes", str(processes)]
        done = []
        for _ in range(runs):
            before = _cpu_seconds()
            made = subprocess.run(
                command, env=environment(stage.settings), check=True, stdout=subprocess.PIPE
            )
            told = json.loads(made.stdout) | {"cpu_seconds": round(_cpu_seconds() - before, 2)}
            done.append(told | {"equal": digests(stage.dsn("views")) == live})
            print(json.dumps(done[-1]), flush=True)
    print(json.dumps(_told(live)))
    if not all(one["equal"] for one in done):
        raise typer.Exit(1)


def _fill(stage: Stage, events: int, customers: list[str]) -> None:
    stage.start_kafka()
    stage.start("ledger", "projections")
    opening = list(backlog.opening(customers, BALANCE, 0, 0))
    backlog.produce(stage.settings, opening)
    backlog.produce(
        stage.settings, backlog.movements(customers, max(0, events - len(opening)), answered=False)
    )
    backlog.watch(stage, backlog.APPLIED, max(events, len(opening)))


def _cpu_seconds() -> float:
    """Of our children that have ended: the rebuild's own processes, without PostgreSQL and Kafka."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _told(live: Digests) -> dict[str, object]:
    tables = {table.table: {"rows": table.rows, "sha256": table.sha256} for table in live.tables}
    return {"events": sum(live.positions.values()), "tables": tables}


if __name__ == "__main__":
    typer.run(main)
