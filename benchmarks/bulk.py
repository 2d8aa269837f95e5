"""`python -m benchmarks.bulk`: entries in bulk, as records that wait in Kafka and as requests of a thousand items.

Servers, ledger, api, projections and clients share this machine. Afterwards the whole topic is checked.
"""

import asyncio
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
import typer

from benchmarks import backlog, checks
from benchmarks.meter import Meter
from benchmarks.profile import looking
from benchmarks.stage import TENANT, Stage
from events.codec import encode_ask
from events.commands import BULK_CUSTOMERS_MAX, BulkEntry, Command, EnterInBulk, Origin
from events.ids import derived
from events.sharding import shard_of

CUSTOMERS = 10_000
BALANCE = 1_000_000_000
ITEMS = 1_000
PROFILE_SECONDS = 3.0
PATH = "/v1/ledger-entries/bulk"


def records(customers: list[str], entries: int, each: int, shards: int) -> Iterator[Command]:
    """Bulk records of `each` entries over all customers."""
    homes: defaultdict[int, list[str]] = defaultdict(list)
    for customer in customers:
        homes[shard_of(customer, shards)].append(customer)
    chance = random.Random(1)
    for number in range(entries // each):
        own = homes[number % shards]
        name = secrets.token_hex(16)
        some = chance.sample(own, min(BULK_CUSTOMERS_MAX, len(own)))
        made = [_entry(some[place % len(some)], place, f"{name}-{place}") for place in range(each)]
        yield Command(
            id=name,
            source="/bench",
            type=EnterInBulk.TYPE,
            subject=made[0].customer_id,
            businessid=TENANT.business_id,
            mode="test",
            origin=Origin.SYSTEM,
            actor="bench",
            correlationid=name,
            replyto=f"0/{name}",
            data=encode_ask(EnterInBulk(entries=made)),
        )


def _entry(customer: str, number: int, key: str) -> BulkEntry:
    kind = "credit" if number % 2 else "debit"
    return BulkEntry(
        customer_id=customer,
        entry_type=kind,  # type: ignore[arg-type]  # one of the two
        currency="USD",
        amount=100 + number % 900,
        idempotency_key=key,
    )


def body(customers: list[str]) -> bytes:
    """A request of a thousand items over these customers."""
    run = secrets.token_hex(8)
    items = [_entry(customers[place % len(customers)], place, f"{run}-{place}") for place in range(ITEMS)]
    return msgspec.json.encode({"items": items})


async def ask(stage: Stage, bodies: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Entries per second and the seconds of each request; every item must be applied."""
    waiting = iter(bodies)
    took: list[float] = []
    headers = {"authorization": f"Bearer {stage.api_key}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{stage.settings.http_port}{PATH}"

    async def client(session: aiohttp.ClientSession) -> None:
        for one in waiting:
            began = time.monotonic()
            async with session.post(url, data=one, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
            assert (response.status, answer.get("applied")) == (200, ITEMS), str(answer)[:300]
            took.append(time.monotonic() - began)

    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return len(bodies) * ITEMS / (time.monotonic() - began), sorted(took)


def main(
    entries: Annotated[int, typer.Option(help="In each backlog.")] = 60_000,
    requests: Annotated[int, typer.Option(help="Of a thousand items each, per scenario.")] = 40,
    clients: Annotated[int, typer.Option(help="Requests at a time.")] = 4,
    profile: Annotated[Path | None, typer.Option(help="Folder for py-spy profiles.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the servers keep data.")] = None,
) -> None:
    """Measure bulk, and check that nothing was lost."""
    customers = [derived("cus_", f"bench {number}") for number in range(CUSTOMERS)]
    with Stage(data_dir, 1) as stage:
        stage.start_kafka()
        stage.start("ledger", "projections", "api")
        backlog.produce(stage.settings, backlog.opening(customers, BALANCE, 0, 0))
        backlog.watch(stage, backlog.APPLIED, 2 * CUSTOMERS)
        _backlogs(stage, customers, entries, profile)
        _requests(stage, customers, requests, clients, profile)
        backlog.settle(stage)
        checks.verdict(checks.ledger(stage, checks.read_topic(stage.settings)))
        typer.echo("the whole topic was read and is right")


def _backlogs(stage: Stage, customers: list[str], entries: int, profile: Path | None) -> None:
    for each in (1_000, 100, 30):
        stage.stop("api", "ledger", "projections")
        until = backlog.count(stage, backlog.STORED) + entries // each * each
        backlog.produce(stage.settings, records(customers, entries, each, stage.settings.shards))
        stage.start("ledger", wait=False)
        meter = Meter(stage)
        during = partial(looking, stage, meter, profile, f"kafka-bulk-{each}", PROFILE_SECONDS)
        speed = backlog.watch(stage, backlog.STORED, until, during)
        typer.echo(
            f"kafka, records of {each:>5} entries: {speed.rate:>8,.0f} entries/s; processor per entry: "
            + _per_entry(meter, speed.seconds, speed.events)
        )


def _requests(stage: Stage, customers: list[str], requests: int, clients: int, profile: Path | None) -> None:
    stage.start("ledger", "projections", "api")
    for count in (1_000, 10):
        backlog.settle(stage)
        asyncio.run(ask(stage, [body(customers[:count])], 1))
        bodies = [body(customers[:count]) for _ in range(requests)]
        meter = Meter(stage)
        with looking(stage, meter, profile, f"http-bulk-{count}", PROFILE_SECONDS):
            rate, took = asyncio.run(ask(stage, bodies, clients))
        entered = len(bodies) * ITEMS
        typer.echo(
            f"http, {ITEMS} items over {count:>5} customers: {rate:>8,.0f} entries/s, "
            f"p50 {took[len(took) // 2] * 1e3:.0f} ms, slowest {took[-1] * 1e3:.0f} ms; processor per entry: "
            + _per_entry(meter, entered / rate, entered)
        )


def _per_entry(meter: Meter, seconds: float, entries: int) -> str:
    """What does not depend on who else uses the machine."""
    micros = {name: percent * seconds / entries * 1e4 for name, percent in meter.cpu_percent.items()}
    return ", ".join(f"{name} {used:.0f} us" for name, used in micros.items())


if __name__ == "__main__":
    typer.run(main)
