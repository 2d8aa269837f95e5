"""How much memory a ledger worker takes: `python -m benchmarks.footprint customers`, `… frozen`.

Real servers in a temporary folder, one worker as `wallet-ledger ledger` starts it; its resident memory is that of
the process. What was asked is counted afterwards: nothing may be lost or doubled.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Annotated, Any

import psutil
import typer
from aiokafka import AIOKafkaProducer

from benchmarks import backlog
from benchmarks.stage import Stage
from events.codec import encode_command
from events.commands import Command, CreditWallet, RegisterCustomer
from events.ids import derived
from events.sharding import shard_of
from events.topics import COMMANDS
from services.kafka import client_options
from services.settings import Settings
from services.standalone.process import StandaloneError

MIB = 1024 * 1024
CHUNK = 20_000
AHEAD_MAX = 100_000
"""Commands that wait in Kafka: as many as a worker meets after a minute of standstill."""
SAMPLE_SECONDS = 0.1

app = typer.Typer(add_completion=False, help=__doc__)


class Resident:
    """A context manager around what is measured: the resident memory of one process, before and at most."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.most = self._process.memory_info().rss

    def __enter__(self) -> "Resident":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def mib(self) -> dict[str, float]:
        return {
            "resident_mib_before": round(self.before / MIB, 1),
            "resident_mib_max": round(self.most / MIB, 1),
        }

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.most = max(self.most, self._process.memory_info().rss)


@app.command()
def customers(count: Annotated[int, typer.Option(help="Customers to touch, twice.")] = 1_000_000) -> None:
    """Register so many customers, then credit each: the second time most of them are not in memory any more."""
    names = [derived("cus_", f"footprint {number}") for number in range(count)]
    with _staged() as stage, Resident(stage.running["ledger"].pid) as resident:
        _say(worker="idle", **resident.mib)
        begun = time.monotonic()
        profile = RegisterCustomer(name="Nguyễn Văn A", email="a@example.com")
        _work(stage, (backlog.command(one, profile, answered=False) for one in names), 0)
        _say(registered=count, seconds=round(time.monotonic() - begun, 1), **resident.mib)
        begun = time.monotonic()
        top_up = CreditWallet(currency="USD", amount=100)
        _work(stage, (backlog.command(one, top_up, answered=False) for one in names), count)
        _say(credited=count, seconds=round(time.monotonic() - begun, 1), **resident.mib)


@app.command()
def frozen(
    seconds: Annotated[float, typer.Option(help="How long PostgreSQL stands still.")] = 60.0,
    rate: Annotated[int, typer.Option(help="Commands per second that arrive meanwhile.")] = 5_000,
) -> None:
    """Stop PostgreSQL (SIGSTOP) while commands arrive, let it go on, and wait until all is done."""
    names = [derived("cus_", f"footprint {number}") for number in range(2_000)]
    with _staged() as stage:
        opening = list(backlog.opening(names, 1_000_000, busy=0, entries=0))
        _work(stage, opening, 0)
        total = len(opening) + int(seconds * rate)
        moves = backlog.movements(names, int(seconds * rate), answered=True)
        with Resident(stage.running["ledger"].pid) as resident:
            stage.postgres.freeze()
            asyncio.run(_steadily(stage.settings, moves, rate))
            _say(frozen_seconds=seconds, commands=int(seconds * rate), **resident.mib)
            stage.postgres.thaw()
            begun = time.monotonic()
            backlog.watch(stage, backlog.STORED, total)
            _say(caught_up_seconds=round(time.monotonic() - begun, 1), **resident.mib)
        time.sleep(1)
        if (stored := backlog.count(stage, backlog.STORED)) != total:
            raise StandaloneError(f"{stored} events of {total} commands")


@contextmanager
def _staged() -> Iterator[Stage]:
    with Stage(None, 1) as stage:
        stage.start_kafka()
        stage.start("ledger")
        yield stage


def _work(stage: Stage, commands: Any, stored: int) -> None:
    """Send all, never too far ahead of the worker, and wait until each has its event."""
    stream, sent = iter(commands), stored
    while chunk := list(islice(stream, CHUNK)):
        backlog.produce(stage.settings, chunk)
        sent += len(chunk)
        if sent - AHEAD_MAX > 0:
            backlog.watch(stage, backlog.STORED, sent - AHEAD_MAX)
    backlog.watch(stage, backlog.STORED, sent)


async def _steadily(settings: Settings, commands: Iterator[Command], rate: int) -> None:
    producer = AIOKafkaProducer(acks="all", linger_ms=5, **client_options(settings))
    await producer.start()
    try:
        begun, sent = time.monotonic(), 0
        while chunk := list(islice(commands, rate // 20)):
            for one in chunk:
                shard = shard_of(one.subject, settings.shards)
                await producer.send(COMMANDS.name, encode_command(one), partition=shard)
            sent += len(chunk)
            await asyncio.sleep(max(0.0, begun + sent / rate - time.monotonic()))
        await producer.flush()
    finally:
        await producer.stop()


def _say(**figures: Any) -> None:
    typer.echo(json.dumps(figures))


if __name__ == "__main__":
    app()
