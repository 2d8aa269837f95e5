"""`python -m benchmarks.growth`, or `make bench-growth`: what a grown ledger costs more than a young one.

The same things are measured at one hundredth of the size and at the full size. Load, servers and clients share this
machine. It takes long and much disk: about 4 KB for each entry.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

import msgspec
import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import host
from benchmarks.growth_load import Plan as Growing
from benchmarks.growth_load import customer_id, email
from benchmarks.handover import OWNED
from benchmarks.load import Plan, generate
from benchmarks.meter import Meter
from benchmarks.scenarios import ENTRIES, WALLETS
from benchmarks.stage import Stage
from services.projections.rebuild import Rebuild, Step
from services.standalone.machine import environment
from services.standalone.process import StandaloneError, last_lines
from services.standalone.supervisor import Interrupted, Service, direct, interruptible

RESULTS = Path(__file__).parent / "results"
RATIO_MAX = 1.5
TAKE_OVER_SECONDS_MAX = 10.0
LOADERS = 2
SAMPLE = 5_000
CLIENTS = 8
ROUNDS = 3
PATIENCE_SECONDS = 120.0
TABLES = {
    "store": ("stored_events", "receipts"),
    "views": ("customers", "wallets", "ledger_entries"),
}


class Reading(NamedTuple):
    """A GET; `{customer}` in the path stands for one of `words`."""

    name: str
    path: str
    words: list[str]


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
        with interruptible(), Stage(data_dir, 1) as stage:
            stage.start_kafka()
            sizes = (customers // 100, customers)
            found, grown = [], 0
            for size in sizes:
                found.append(_at(stage, grown, size, entries, seconds))
                grown = size
            head = {"began_at": began.isoformat(timespec="seconds"), "git": host.commit()}
            head |= {"machine": host.machine(stage), "versions": host.versions(stage)}
            _write(file, head | {"durability": host.durability(stage)}, sizes, found)
            _check(stage)
    except Interrupted as interrupted:
        raise typer.Exit(128 + interrupted.number) from None
    except StandaloneError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _at(stage: Stage, grown: int, size: int, entries: int, seconds: float) -> Figures:
    """Grow to a size, then measure."""
    stage.stop("api", "ledger", "projections")
    loading = _timed(lambda: _grow(stage, grown, size, entries))
    rebuilding = _timed(lambda: _rebuild(stage))
    for database, tables in TABLES.items():
        with psycopg.connect(stage.dsn(database), autocommit=True) as connection:
            for table in tables:
                connection.execute(f"VACUUM (ANALYZE) {table}".encode())
    starting = {"start-up": _timed(lambda: stage.start("ledger"))}
    stage.start("projections", "api")
    ms, cpu = _commands(stage, size, seconds)
    ms |= _reads(stage, size, seconds)
    starting |= _take_overs(stage)
    rows, sizes = _sizes(stage)
    return Figures(rows, sizes, loading, rebuilding, ms, cpu, starting)


def _grow(stage: Stage, first: int, last: int, entries: int) -> None:
    """Several processes, each with every so many-th shard."""
    shards = range(stage.settings.shards)
    total = (last - first) * (entries + 1)
    with ExitStack() as stack:
        shown = stack.enter_context(_progress())
        task = shown.add_task(f"{last:,} customers", total=total)
        running = []
        for number in range(LOADERS):
            plan = Growing(shards=list(shards[number::LOADERS]), first=first, last=last, entries=entries)
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


def _loader(stage: Stage, plan: Growing) -> "subprocess.Popen[bytes]":
    with (stage.folder / "loader.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.growth_load"],
            env=environment(stage.settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdin is not None
    process.stdin.write(msgspec.msgpack.encode(plan))
    process.stdin.close()
    return process


def _rebuild(stage: Stage) -> None:
    """Read models of all there is, by the product's own rebuild."""
    with _progress() as shown:
        task = shown.add_task("read models")

        def report(step: Step, done: int, total: int) -> None:
            shown.update(task, description=step.value, completed=done, total=total)

        Rebuild(stage.settings, report).run(afresh=True)


def _commands(stage: Stage, size: int, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """On wallets never touched since the start, each about once; then on wallets in memory."""
    step = max(1, size // SAMPLE)
    cold = [customer_id(number) for number in range(0, size, step)]
    warm = cold[:100]
    ms, cpu = {}, {}
    for name, wallets in (("command, cold wallet", cold), ("command, warm wallet", warm)):
        plan = _plan(
            stage, seconds * ROUNDS, "POST", ENTRIES, wallets, warmup=0.0 if wallets is cold else 1.0
        )
        with Meter(stage) as meter:
            outcome = generate(plan)
        stage.check_alive()
        ms[name] = outcome.latency.p50
        used = sum(meter.cpu_percent.values()) / 100 * outcome.seconds
        cpu[name] = used / sum(outcome.answers.values()) * 1e6
    return ms, cpu


def _reads(stage: Stage, size: int, seconds: float) -> dict[str, float]:
    young = 10_000  # these customers exist at both sizes
    some = [customer_id(number) for number in range(0, size, max(1, size // SAMPLE))]
    readings = [
        Reading("balance", WALLETS, some),
        Reading("ledger, first page", ENTRIES, some),
        Reading("customers, first page", "/customers", [""]),
        Reading("/v1 customers, first page", "/v1/customers", [""]),
        Reading("/v1 customers by balance", "/v1/customers?currency=USD&sort=-balance", [""]),
        Reading("/v1 search: a common name", "/v1/customers?search={customer}", [quote("nguyễn"), "tran"]),
        Reading("/v1 search: two words", "/v1/customers?search=nguyen+{customer}", ["bao", "nhung"]),
        Reading(
            "/v1 search: an email",
            "/v1/customers?search={customer}",
            [quote(email(number)) for number in range(0, min(young, size), 7)],
        ),
        Reading("/v1 search: nobody", "/v1/customers?search={customer}", ["zzyzx", "qqwwxx"]),
        Reading("/v1 search with a total", "/v1/customers?search=nguyen&total=true", [""]),
        Reading("/v1 entries, first page", "/v1/ledger-entries", [""]),
        Reading(
            "/v1 entries by reference",
            "/v1/ledger-entries?reference={customer}",
            [f"pay_{number}_1" for number in range(0, min(young, size), 7)],
        ),
        Reading("/v1 entries of a cause", "/v1/ledger-entries?cause=adjustment&direction=debit", [""]),
    ]
    return {one.name: _read(stage, one, seconds) for one in readings}


def _read(stage: Stage, reading: Reading, seconds: float) -> float:
    plans = [_plan(stage, seconds, "GET", reading.path, reading.words, clients=1) for _ in range(ROUNDS)]
    return round(median(generate(plan).latency.p50 for plan in plans), 3)


def _plan(
    stage: Stage,
    seconds: float,
    method: str,
    path: str,
    words: list[str],
    clients: int = CLIENTS,
    warmup: float = 0.5,
) -> Plan:
    return Plan(
        ports=[stage.settings.http_port],
        api_key=stage.api_key,
        clients=clients,
        warmup_seconds=warmup,
        seconds=seconds,
        method=method,
        path=path,
        customers=words,
        run=token_hex(4),
        respond_async=True,
    )


def _take_overs(stage: Stage) -> dict[str, float]:
    """Seconds until a second worker has all shards after the first was told to stop, and after it was killed."""
    found = {}
    for name, end in (("hand-over", Service.stop), ("take-over after kill -9", Service.kill)):
        first = stage.running["ledger"]
        assert isinstance(first, Service)
        heir = stage.worker("heir")
        heir.start()
        _until(lambda heir=heir: _owned(heir) == stage.settings.shards // 2)  # type: ignore[misc]
        del stage.running["ledger"]
        began = time.monotonic()
        end(first)
        _until(lambda heir=heir: _owned(heir) == stage.settings.shards)  # type: ignore[misc]
        found[name] = time.monotonic() - began
        stage.running["ledger"] = stage.running.pop("heir")
    return found


def _owned(service: Service) -> int:
    with direct.open(f"http://127.0.0.1:{service.port}/metrics", timeout=5) as answer:
        lines = answer.read().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith(OWNED))


def _until(probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if probe():
                return
        except OSError:
            pass  # it does not listen yet
        if time.monotonic() > deadline:
            raise StandaloneError("a worker did not get its shards")
        time.sleep(0.02)


def _sizes(stage: Stage) -> tuple[dict[str, int], dict[str, int]]:
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


def _check(stage: Stage) -> None:
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


def _write(file: Path, head: dict[str, Any], sizes: tuple[int, int], found: list[Figures]) -> None:
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
    print(f"written to {file}", file=sys.stderr)


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 2)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


if __name__ == "__main__":
    typer.run(main)
