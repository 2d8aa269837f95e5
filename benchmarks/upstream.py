"""`python -m benchmarks.upstream`: events per second that intake takes in, of the played business with all its troubles.

Servers, ledger and intake share this machine; the events lie in Kafka before intake starts. Afterwards wallets are
compared with the books of the played business.
"""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from aiokafka import AIOKafkaProducer

from benchmarks import backlog, checks
from benchmarks.meter import Meter
from benchmarks.profile import looking
from benchmarks.stage import TENANT, Stage
from events.topics import PAYMENTS
from services.kafka import client_options
from services.settings import Settings
from services.standalone.process import StandaloneError
from services.upstream.books import Books
from services.upstream.business import Business
from services.upstream.trade import DAY
from services.upstream.world import Delivery, Trouble

START = 1_790_000_000_000_000
DAYS_MAX = 3_660
TAKEN = ("views", "SELECT coalesce(sum(next_offset), 0) FROM intake_checkpoints")
PROFILE_SECONDS = 5.0
OPEN = ("USD", "INR")


def news(events: int, rate: int, seed: int) -> tuple[list[Delivery], Books]:
    """At least so many deliveries, and the books that they come to."""
    business = Business(seed, TENANT.business_id, TENANT.mode, START, rate, Trouble(), joining=DAY)
    told: list[Delivery] = []
    for day in range(1, DAYS_MAX):
        told += [one for one in business.world.play(START + day * DAY) if isinstance(one, Delivery)]
        if len(told) >= events:
            break
    told += [one for one in business.world.drain() if isinstance(one, Delivery)]
    return told, business.world.books


async def publish(settings: Settings, told: list[Delivery]) -> None:
    """Acknowledged when it returns."""
    async with AIOKafkaProducer(
        linger_ms=5, max_batch_size=512 * 1024, **client_options(settings)
    ) as producer:
        sent = [await producer.send(PAYMENTS.name, one.value, key=one.name.encode()) for one in told]
        await asyncio.gather(*sent)


def main(
    events: Annotated[int, typer.Option(help="That lie in Kafka.")] = 30_000,
    rate: Annotated[int, typer.Option(help="Visits a day: how many payments are alive at once.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Of the played business.")] = 1,
    projections: Annotated[
        bool, typer.Option(help="Read models keep up meanwhile, as in production.")
    ] = False,
    profile: Annotated[Path | None, typer.Option(help="Folder for py-spy profiles.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the servers keep data.")] = None,
) -> None:
    """Measure intake, check the wallets, print one line of JSON."""
    told, books = news(events, rate, seed)
    with Stage(data_dir, 1) as stage:
        stage.start_kafka()
        asyncio.run(publish(stage.settings, told))
        stage.start("ledger", *(["projections"] if projections else []))
        stage.start("intake", wait=False)
        meter = Meter(stage)
        during = partial(looking, stage, meter, profile, "upstream", PROFILE_SECONDS)
        speed = backlog.watch(stage, TAKEN, len(told), during)
        stage.stop("intake")
        stage.stop("ledger")  # in order: what is stored is published then
        topic = checks.read_topic(stage.settings)
        expected = {purse: amount for purse, amount in books.wallets.items() if amount and purse[1] in OPEN}
        found = {purse: amount for purse, amount in topic.balances.items() if amount}
        if found != expected or topic.gaps or topic.broken_links or topic.wrong_sums or topic.negative:
            raise StandaloneError("the wallets are not what the books of the played business say")
    used = {name: percent * speed.seconds / speed.events * 1e4 for name, percent in meter.cpu_percent.items()}
    result = {
        "events": len(told),
        "facts": topic.events,
        "events_per_second": round(speed.rate),
        "cpu_micros_per_event": {name: round(micros) for name, micros in used.items()},
        "machine_percent": meter.machine_percent,
        "commands_per_commit": meter.commands_per_commit,
    }
    typer.echo(json.dumps(result))


if __name__ == "__main__":
    typer.run(main)
