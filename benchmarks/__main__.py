"""`python -m benchmarks`, or `make bench`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import host, report
from benchmarks.scenarios import NAMES, wanted
from benchmarks.session import FULL, QUICK, Session
from benchmarks.stage import TENANT, Stage
from services.standalone.process import StandaloneError

RESULTS = Path(__file__).parent / "results"


def bench(
    quick: Annotated[bool, typer.Option(help="A short run that shows that everything works.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Scenarios, e.g. 'write-*'; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(help="Of each scenario over HTTP; default 8, quick 2.")] = 0.0,
    api_processes: Annotated[int, typer.Option(help="Processes of the api.")] = 1,
    output: Annotated[
        Path | None, typer.Option(help="JSON file; default: benchmarks/results/<time>.json.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the servers keep data; default: a temporary folder.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Folder for py-spy profiles; it slows what it looks at.")
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait, before each scenario, until nothing else works.")
    ] = 0.0,
    list_only: Annotated[bool, typer.Option("--list", help="Print the names of the scenarios.")] = False,
) -> None:
    """Measure the ledger on this machine, against what a team writes first, and check that nothing was lost.

    Starts servers of its own in a temporary folder, and removes them. Load, servers and clients share this machine.
    """
    chosen = [name for name in NAMES if wanted(name, only or [])]
    if list_only or not chosen:
        print(*NAMES, sep="\n")
        raise typer.Exit(0 if chosen else 2)
    began = datetime.now(UTC)
    sizes = QUICK if quick else FULL
    sizes = sizes._replace(seconds=seconds or sizes.seconds, patience_seconds=patience)
    file = output or RESULTS / f"{began:%Y-%m-%dT%H%M%SZ}.json"
    try:
        with Stage(data_dir, api_processes) as stage:
            head = _head(stage, began, sizes._asdict())
            session = Session(stage, sizes, chosen, profile, _say)
            try:
                session.run()
            finally:
                if session.results:
                    report.write(file, head, session.results, session.checks)
                    report.show(session.results, session.checks)
                    _say(f"written to {file}")
    except StandaloneError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _head(stage: Stage, began: datetime, sizes: dict[str, Any]) -> dict[str, Any]:
    settings = stage.settings
    return {
        "began_at": began.isoformat(timespec="seconds"),
        "git": host.commit(),
        "machine": host.machine(stage),
        "versions": host.versions(stage),
        "durability": host.durability(stage),
        "settings": {
            "shards": settings.shards,
            "acknowledge": settings.acknowledge,
            "api_processes": settings.http_processes,
            "tenant": str(TENANT),
            **sizes,
        },
    }


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(bench)
