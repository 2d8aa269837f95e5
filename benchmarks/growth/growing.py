"""A ledger grows: loaders in processes of their own, then the read models by the product's own rebuild."""

import subprocess
import sys
from contextlib import ExitStack

import msgspec
import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.growth.loader import Plan
from benchmarks.stage import Stage
from services.projections.rebuild.rebuild import Rebuild, Step
from services.standalone.environment import environment
from services.standalone.process import StandaloneError, last_lines

LOADERS = 2
TABLES = {
    "store": ("stored_events", "receipts"),
    "views": ("customers", "wallets", "ledger_entries"),
}


def grow(stage: Stage, first: int, last: int, entries: int) -> None:
    """Several processes, each with every so many-th shard."""
    shards = range(stage.settings.shards)
    total = (last - first) * (entries + 1)
    with ExitStack() as stack:
        shown = stack.enter_context(_progress())
        task = shown.add_task(f"{last:,} customers", total=total)
        running = []
        for number in range(LOADERS):
            plan = Plan(shards=list(shards[number::LOADERS]), first=first, last=last, entries=entries)
            running.append(_loader(stage, plan))
        written = [0] * LOADERS
        while any(process.poll() is None for process in running):
            for number, process in enumerate(running):
                assert process.stdout is not None
                if line := process.stdout.readline():
                    written[number] = int(line)
            shown.update(task, completed=sum(written))
        if any(process.returncode for process in running):
            raise StandaloneError(f"a loader failed:\n{last_lines(stage.folder / 'loader.log')}")


def _loader(stage: Stage, plan: Plan) -> "subprocess.Popen[bytes]":
    with (stage.folder / "loader.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.growth.loader"],
            env=environment(stage.settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdin is not None
    process.stdin.write(msgspec.msgpack.encode(plan))
    process.stdin.close()
    return process


def rebuild(stage: Stage) -> None:
    """Read models of all there is, by the product's own rebuild."""
    with _progress() as shown:
        task = shown.add_task("read models")

        def report(step: Step, done: int, total: int) -> None:
            shown.update(task, description=step.value, completed=done, total=total)

        Rebuild(stage.settings, report).run(afresh=True)


def tidy(stage: Stage) -> None:
    """What autovacuum would do soon: it must not run into the measurements."""
    for database, tables in TABLES.items():
        with psycopg.connect(stage.dsn(database), autocommit=True) as connection:
            for table in tables:
                connection.execute(f"VACUUM (ANALYZE) {table}".encode())


def sizes(stage: Stage) -> tuple[dict[str, int], dict[str, int]]:
    rows, sizes = {}, {}
    for database, tables in TABLES.items():
        with psycopg.connect(stage.dsn(database)) as connection:
            for table in tables:
                found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
                assert found is not None
                rows[table] = found[0]
            found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert found is not None
            sizes[database] = found[0]
    return rows, sizes


def check(stage: Stage) -> None:
    """Every wallet holds what its entries add up to, and the last entry says so."""
    with psycopg.connect(stage.dsn("views")) as connection:
        wrong = connection.execute("""
            SELECT count(*) FROM wallets AS w LEFT JOIN (
                SELECT customer_id, currency, sum(balance_after_minor - balance_before_minor) AS total
                FROM ledger_entries GROUP BY customer_id, currency
            ) AS e USING (customer_id, currency)
            WHERE w.balance_minor <> coalesce(e.total, 0)
        """).fetchone()
    if wrong != (0,):
        raise StandaloneError(f"wallets that differ from their entries: {wrong}")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
