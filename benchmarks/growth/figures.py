"""Both sizes side by side, as a table for people and as JSON for machines."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

RATIO_MAX = 1.5
TAKE_OVER_SECONDS_MAX = 10.0


class Figures(NamedTuple):
    """Of one size. Milliseconds are medians over rounds of medians; CPU is of all processes together."""

    rows: dict[str, int]
    bytes: dict[str, int]
    load_seconds: float
    rebuild_seconds: float
    ms: dict[str, float]
    cpu_us: dict[str, float]
    seconds: dict[str, float]


class Compared(NamedTuple):
    """One row of the report. Without a ratio it is a time that has a bound of its own."""

    what: str
    young: float
    grown: float
    ratio: float | None

    @property
    def reached(self) -> bool:
        return self.grown <= TAKE_OVER_SECONDS_MAX if self.ratio is None else self.ratio <= RATIO_MAX


def write(file: Path, head: dict[str, Any], sizes: tuple[int, int], found: list[Figures]) -> None:
    young, old = found
    compared = {
        **{f"{name}: p50 ms": (young.ms[name], old.ms[name]) for name in young.ms},
        **{f"{name}: CPU µs": (young.cpu_us[name], old.cpu_us[name]) for name in young.cpu_us},
    }
    rows = [Compared(what, *pair, round(pair[1] / pair[0], 2)) for what, pair in compared.items()]
    rows += [Compared(f"{name}: s", one, old.seconds[name], None) for name, one in young.seconds.items()]
    content = {
        **head,
        "customers": sizes,
        "compared": [row._asdict() | {"reached": row.reached} for row in rows],
        "figures": [one._asdict() for one in found],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")
    table = Table("", f"{sizes[0]:,} customers", f"{sizes[1]:,} customers", "ratio", "reached")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, f"{row.young:.2f}", f"{row.grown:.2f}", ratio, "yes" if row.reached else "no")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
