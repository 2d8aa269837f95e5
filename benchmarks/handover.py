"""`python -m benchmarks.handover`: what clients notice while ledger workers are restarted one after the other.

A steady load goes through the HTTP API over several workers. Each of them in turn is told to stop, is followed by the
others, and is started again; then one is killed. Told are the answers, and the latencies of the second after each event.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, NamedTuple

import aiohttp
import typer

from benchmarks.generator import quantiles
from benchmarks.stage import Stage
from events.sharding import shard_of
from services.standalone.supervisor import Service

OWNED = b"wallet_ledger_shards_owned "
PATIENCE_SECONDS = 30.0
REST_SECONDS = 3.0


class Request(NamedTuple):
    """`at` and `seconds` on the monotonic clock; status 0: the connection broke."""

    at: float
    seconds: float
    status: int


class Load:
    """Credits at a steady rate, whatever becomes of them: a slow answer does not slow the next request down."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession, per_second: int) -> None:
        self._base_url = f"http://127.0.0.1:{stage.settings.http_port}"
        self._headers = {"authorization": f"Bearer {stage.api_key}"}
        self._session = session
        self._per_second = per_second
        self._tasks: set[asyncio.Task[None]] = set()
        self._customers: list[str] = []
        self.requests: list[Request] = []

    async def open(self, shards: int) -> None:
        """A customer in each shard."""
        found: dict[int, str] = {}
        while len(found) < shards:
            body = {"name": "Trần Thị B", "email": "b@example.com"}
            async with self._session.post(
                f"{self._base_url}/customers", json=body, headers=self._headers
            ) as answer:
                customer = (await answer.json())["customer_id"]
                found.setdefault(shard_of(customer, shards), customer)
        self._customers = list(found.values())

    async def run(self) -> None:
        """Until cancelled."""
        began, sent = time.monotonic(), 0
        while True:
            for _ in range(int((time.monotonic() - began) * self._per_second) - sent):
                sent += 1
                task = asyncio.create_task(self._ask(sent))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0.002)

    def within(self, begin: float) -> list[Request]:
        """What was asked in the second from then."""
        return [one for one in self.requests if begin <= one.at < begin + 1]

    async def settle(self) -> None:
        """Until all are answered."""
        await asyncio.gather(*self._tasks)

    async def _ask(self, number: int) -> None:
        url = f"{self._base_url}/customers/{random.choice(self._customers)}/wallets/ledger-entries"
        headers = self._headers | {"idempotency-key": f"handover-{number}"}
        body = {"amount": 1, "currency": "USD", "entry_type": "credit"}
        at, status = time.monotonic(), 0
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.post(url, json=body, headers=headers) as answer:
                await answer.read()
                status = answer.status
        self.requests.append(Request(at, time.monotonic() - at, status))


class Rolling:
    """The workers, and what is done to them."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession, load: Load, workers: int) -> None:
        self._stage = stage
        self._session = session
        self._load = load
        self._workers = [stage.worker(f"ledger-{number + 1}") for number in range(workers)]

    async def start(self) -> None:
        """All of them; each with its share."""
        for worker in self._workers:
            worker.start()
        await self.shared(self._workers)

    async def go_round(self) -> None:
        """Every worker stops and comes back."""
        for worker in self._workers:
            await self._event(f"SIGTERM {worker.name}", worker, worker.stop)
            await self._event(f"start {worker.name}", worker, None)

    async def kill_one(self) -> None:
        """Nobody can hand over any more."""
        worker = self._workers[0]
        await self._event(f"kill -9 {worker.name}", worker, worker.kill)

    async def shared(self, workers: list[Service]) -> None:
        """Until all shards are owned in fair shares."""
        shards = self._stage.settings.shards
        wanted = sorted(
            shards // len(workers) + (place < shards % len(workers)) for place in range(len(workers))
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sorted([await self._owned(worker) for worker in workers]) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _event(self, what: str, worker: Service, end: Callable[[], None] | None) -> None:
        """The worker ends; without `end` it begins. Told is the worst second from just before until all is shared."""
        await asyncio.sleep(REST_SECONDS)
        at = time.monotonic()
        if end is None:
            worker.start()
            await self.shared(self._workers)
        else:
            ending = asyncio.create_task(asyncio.to_thread(end))
            await self.shared([one for one in self._workers if one is not worker])
        took = time.monotonic() - at
        if end is not None:
            await ending
        await asyncio.sleep(REST_SECONDS)
        seconds = [self._load.within(at + tenth / 10) for tenth in range(-5, int(took * 10) + 1)]
        told(what, max(seconds, key=p99), f"shared after {took:.2f} s")

    async def _owned(self, worker: Service) -> int:
        with suppress(aiohttp.ClientError):
            async with self._session.get(f"http://127.0.0.1:{worker.port}/metrics") as answer:
                for line in (await answer.read()).splitlines():
                    if line.startswith(OWNED):
                        return int(line[len(OWNED) :].partition(b".")[0])
        return -1


def p99(requests: list[Request]) -> float:
    return quantiles([one.seconds for one in requests]).p99


def told(what: str, requests: list[Request], more: str = "") -> None:
    """One line."""
    latency = quantiles([one.seconds for one in requests])
    answers = dict(Counter(one.status for one in requests))
    typer.echo(
        f"{what:18} p50 {latency.p50:6.1f}  p99 {latency.p99:6.1f}  max {latency.max:6.1f} ms  {answers}  {more}"
    )


async def _measure(stage: Stage, workers: int, per_second: int, rounds: int) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
        load = Load(stage, session, per_second)
        rolling = Rolling(stage, session, load, workers)
        await rolling.start()
        await load.open(stage.settings.shards)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(REST_SECONDS)
        told("steady", load.requests)
        for _ in range(rounds):
            await rolling.go_round()
        await rolling.kill_one()
        running.cancel()
        await load.settle()
        told("all of it", load.requests)


def main(
    workers: Annotated[int, typer.Option(help="Ledger workers.")] = 2,
    per_second: Annotated[int, typer.Option(help="Requests a second.")] = 200,
    rounds: Annotated[int, typer.Option(help="How often each worker is restarted.")] = 2,
) -> None:
    """Restart ledger workers under load, one after the other."""
    with Stage(None, api_processes=1) as stage:
        stage.start_kafka()
        stage.start("projections", "api", wait=False)
        asyncio.run(_measure(stage, workers, per_second, rounds))


if __name__ == "__main__":
    typer.run(main)
