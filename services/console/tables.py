"""What is kept, as a table, and a word beside a secret. Names are anybody's: nothing in them is markup."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Column, Table

WIDTH_MAX = 1_000
"""Whatever the terminal is: an id that was cut short cannot be copied."""


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """On standard output, each row whole and on one line."""
    table = Table(*(Column(name, no_wrap=True) for name in columns))
    for row in rows:
        table.add_row(*row)
    Console(width=WIDTH_MAX, markup=False, emoji=False).print(table)


def say_aside(line: str) -> None:
    """On standard error: what a script reads stands alone."""
    Console(stderr=True, markup=False, emoji=False).print(line, soft_wrap=True)


def until(moment: datetime) -> str:
    """In UTC, whatever zone the server works in."""
    return f"until {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
