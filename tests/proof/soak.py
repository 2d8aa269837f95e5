"""A long time at half load: does memory, a file, a connection or a lag grow? Real processes, looked at from outside."""

import asyncio
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import checks
from benchmarks.load import Outcome, Plan, generate
from services.api.keys import create_key
from services.standalone.process import Server
from tests.chaos.hurting import total
from tests.chaos.payments import Payments
from tests.proof.plot import svg
from tests.proof.slopes import Series, grown
from tests.proof.sweeping import DOCUMENT, machine
from tests.running import System, running

MINUTES = 60.0
SHARDS = 8
CUSTOMERS = 500
BALANCE = 10_000_000
BUSINESS, MODE = "biz_soak", "test"
CLIENTS = 32
CAPACITY_SECONDS = 20.0
SEGMENT_SECONDS = 60.0
SAMPLE_SECONDS = 5.0
TOP_UPS_PER_SECOND = 5.0
TRIES = 60
PAUSE_SECONDS = 0.5
MEBI = 1 << 20
SERVERS = ("kafka", "postgres")
"""Their memory and files are shown and not judged: a heap and a buffer cache grow to the size that they were given,
and a session of PostgreSQL keeps open up to 1,000 files that it has used."""
PICTURE = DOCUMENT.with_name("soak.svg")
Report = dict[str, Any]


@dataclass
class Samples:
    """Everything that was looked at, each time."""

    times: list[float] = field(default_factory=list)
    values: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def series(self) -> list[Series]:
        return [
            Series(process, kind, tuple(values), kind not in ("memory", "files") or process not in SERVERS)
            for (process, kind), values in self.values.items()
            if len(values) == len(self.times)
        ]


class Soak:
    """One installation under a steady load."""

    def __init__(self, system: System) -> None:
        self.system = system
        names = (
            ("ledger", "ledger-1"),
            ("ledger", "ledger-2"),
            ("projections", ""),
            ("intake", ""),
            ("api", ""),
        )
        services = [system.service(kind, name) for kind, name in names]
        for one in services:
            one.start()
        for one in services:
            one.wait_ready()
        self.ledgers, self.api = services[:2], services[-1]
        self.watched: dict[str, Server] = {
            one.name: one for one in (*services, system.kafka, system.postgres)
        }
        dsn = system.settings.views_dsn.get_secret_value()
        _, self.api_key = create_key(dsn, BUSINESS, MODE, "soak")
        self.customers: list[str] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.samples = Samples()

    async def open(self) -> None:
        """Customers with money."""
        headers = {"authorization": f"Bearer {self.api_key}", "prefer": "respond-async"}
        limit, url = asyncio.Semaphore(CLIENTS), f"http://127.0.0.1:{self.api.port}"
        async with aiohttp.ClientSession(url, headers=headers, trust_env=False) as session:

            async def one(number: int) -> str:
                async with limit:
                    body = {"name": f"Soaked {number}", "email": f"s{number}@example.com"}
                    customer = (await _post(session, "/customers", f"open-{number}", body))["customer_id"]
                    credit = {"amount": BALANCE, "currency": "USD", "entry_type": "credit"}
                    path = f"/customers/{customer}/wallets/ledger-entries"
                    await _post(session, path, f"fund-{number}", credit)
                    return str(customer)

            self.customers = await asyncio.gather(*(one(number) for number in range(CUSTOMERS)))

    def load(self, seconds: float, per_second: int, run: str) -> Outcome:
        """By a process of its own, which forgets what it knew at the end."""
        outcome = generate(
            Plan(
                ports=[self.api.port],
                api_key=self.api_key,
                clients=CLIENTS,
                warmup_seconds=0.0,
                seconds=seconds,
                method="POST",
                path="/customers/{customer}/wallets/ledger-entries",
                customers=self.customers,
                run=run,
                per_second=per_second,
            )
        )
        self.outcomes.append((run, outcome))
        return outcome

    async def run(self, seed: int, seconds: float, rate: int, tell: Callable[[float], None]) -> int:
        """The rate that was kept up: the one given, or half of what the machine can do now."""
        await self.open()
        if not rate:
            measured = await asyncio.to_thread(self.load, CAPACITY_SECONDS, 0, f"{seed}-capacity")
            rate = max(1, int(measured.answers["200"] / measured.seconds / 2))
        told = Payments(self.system.kafka.bootstrap, BUSINESS, self.customers, seed, TOP_UPS_PER_SECOND)
        telling = asyncio.create_task(told.run())
        ending = time.monotonic() + seconds
        watching = asyncio.create_task(self._watch(ending, tell))
        number = 0
        while (left := ending - time.monotonic()) > 1:
            await asyncio.to_thread(self.load, min(left, SEGMENT_SECONDS), rate, f"{seed}-{number}")
            number += 1
        told.stop()
        await asyncio.gather(watching, telling)
        return rate

    async def _watch(self, ending: float, tell: Callable[[float], None]) -> None:
        with self.system.store() as store, self.system.views() as views:
            began = time.monotonic()
            while time.monotonic() < ending:
                self.samples.times.append(time.monotonic() - began)
                await asyncio.to_thread(self._look, store, views)
                tell(self.samples.times[-1])
                await asyncio.sleep(SAMPLE_SECONDS)

    def _look(self, store: psycopg.Connection[Any], views: psycopg.Connection[Any]) -> None:
        found = self.samples.values
        for name, server in self.watched.items():
            for kind, value in _used(server).items():
                found[name, kind].append(value)
        for one in self.ledgers:
            found[one.name, "memory"][-1] -= one.metric("wallet_ledger_cached_bytes") / MEBI
        behind = total(store, "shards") - total(views, "checkpoints")
        found["read models", "lag"].append(max(0, behind))
        relay = sum(one.metric("wallet_ledger_relay_lag_events") for one in self.ledgers)
        found["relay", "lag"].append(relay)


def run(seed: int, minutes: float, rate: int, console: Console) -> tuple[Report, str]:
    """What came of it, and its picture."""
    console.print(f"-- soak: {minutes:g} minutes at half load")
    load_before = os.getloadavg()[0]
    with running(SHARDS, upstream_mode=MODE) as system, _bar(console, minutes * 60) as tell:
        soak = Soak(system)
        rate = asyncio.run(soak.run(seed, minutes * 60, rate, tell))
        topic = checks.read_topic(system.settings)
        found = checks.acknowledged(topic, [(run, one.acknowledged) for run, one in soak.outcomes])
    series = soak.samples.series()
    report = _report(soak, seed, rate, found, [load_before, os.getloadavg()[0]])
    console.print(*table(report), sep="\n")
    title = f"{report['minutes']:g} minutes at {rate}/s, seed {seed}"
    return report, svg(title, soak.samples.times, series)


@contextmanager
def _bar(console: Console, seconds: float) -> Iterator[Callable[[float], None]]:
    with Progress(
        BarColumn(), TextColumn("soaking"), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=seconds)
        yield lambda done: bar.update(task, completed=done)


def _report(soak: Soak, seed: int, rate: int, found: dict[str, int], load: list[float]) -> Report:
    times = soak.samples.times
    rows = [grown(times, one, rate) for one in soak.samples.series()]
    answers = Counter[str]()
    for _, outcome in soak.outcomes:
        answers.update(outcome.answers)
        answers["none"] += outcome.broken
    wrong = {status: count for status, count in answers.items() if count and status not in ("200", "400")}
    broken = [f"{row['process']} {row['kind']} grows" for row in rows if row["leaks"]]
    broken += [f"answers {wrong}"] if wrong else []
    broken += [f"{name}: {found[name]}" for name in ("missing", "doubled", "other_position") if found[name]]
    return {
        "kept": not broken,
        "broken": broken,
        "seed": seed,
        "minutes": round(times[-1] / 60, 1),
        "per_second": rate,
        "answers": dict(answers),
        "samples": len(times),
        "acknowledged": found,
        "growth": rows,
        "machine": machine(load),
    }


def table(report: Report) -> list[str]:
    """For the document and for a person."""
    where = report["machine"]
    before, after = where["load_average"]
    lines = [
        f"Seed {report['seed']}: {report['minutes']:g} minutes at {report['per_second']}/s, "
        f"{report['samples']} samples. Answers: "
        + ", ".join(f"{count:,} {status}" for status, count in sorted(report["answers"].items()) if count)
        + f". {where['cores']} cores of {where['cpu']}, load average {before:g} before, {after:g} after.",
        "",
        "| process | what | median | gained in ten minutes | |",
        "|---|---|---|---|---|",
    ]
    for row in report["growth"]:
        gained = f"{row['in_ten_minutes']:+.2f}" + (
            f" ({row['percent']:+.2f}%)" if row["kind"] == "memory" else ""
        )
        verdict = "grows" if row["leaks"] else ("" if row["judged"] else "not judged")
        what = "memory, MiB" if row["kind"] == "memory" else row["kind"]
        lines.append(f"| {row['process']} | {what} | {row['median']:,.1f} | {gained} | {verdict} |")
    return lines


async def _post(
    session: aiohttp.ClientSession, path: str, key: str, body: Mapping[str, object]
) -> dict[str, Any]:
    """As the SDK, only with more patience."""
    for _ in range(TRIES):
        async with session.post(path, json=body, headers={"idempotency-key": key}) as answer:
            found: dict[str, Any] = await answer.json()
            if answer.status == 200:
                return found
            assert answer.status in (503, 504), found
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"{path} is not answered")


def _used(server: Server) -> dict[str, float]:
    """Of a process with its children, among whom shared memory counts once.

    Of one alone what is resident: a proportional share would grow when strangers with the same libraries end.
    """
    parent = psutil.Process(server.pid)
    memory = files = connections = 0
    family = (parent, *parent.children(recursive=True))
    for process in family:
        try:
            info = process.memory_full_info()
            memory += info.rss if len(family) == 1 else getattr(info, "pss", info.rss)
            files += process.num_fds()
            connections += len(process.net_connections("tcp"))
        except psutil.NoSuchProcess:
            continue
    return {"memory": memory / MEBI, "files": files, "connections": connections}
