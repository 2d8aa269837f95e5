"""A small ledger with a past, on servers of its own; each test leaves it whole."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from events.replies import Outcome
from services.keyring import KeyRing, parse_kek
from services.projections.projector import Projector
from services.reading import BulkReader
from services.standalone.environment import environment
from tests.asking import asking, credit, customer_in, debit, registration
from tests.running import System, eventually, running
from tests.unit.ledger import telling

SHARDS = 3
CUSTOMERS = [customer_in(shard, SHARDS, "u") for shard in range(SHARDS)]
ROUNDS = 20
LICENCE = replace(
    telling.licence_key(), foreign={"id": "lic_1", "instances": [{"id": "lki_1", "name": "laptop"}]}
)


class Ran(NamedTuple):
    """What a command of `wallet-ledger` left."""

    code: int
    out: dict[str, Any]
    err: str


def command(system: System, *words: str) -> Ran:
    """`wallet-ledger … --json`, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *words, "--json"],
        env=environment(system.settings), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Ran(done.returncode, json.loads(done.stdout or "{}"), done.stderr)


async def _spend(system: System) -> None:
    async with asking(system.kafka.bootstrap, SHARDS) as asker:
        for customer in CUSTOMERS:
            done = await asker.ask(customer, registration(), f"register {customer}")
            assert done.outcome is Outcome.APPLIED
            for n in range(ROUNDS):
                await asker.ask(customer, credit(100 + n), f"credit {n}")
            await asker.ask(customer, credit(5, "INR"), "rupees")
            await asker.ask(customer, debit(7), "debit")
            await asker.ask(customer, debit(10**9), "too much")
            for ask in (
                telling.payment(),
                telling.refund(),
                telling.dispute(),
                telling.subscription(),
                LICENCE,
            ):
                told = await asker.ask(customer, ask, ask.TYPE)
                assert told.outcome is Outcome.APPLIED


def keys_of(system: System) -> KeyRing:
    settings = system.settings
    kek = parse_kek(settings.key_encryption_key.get_secret_value())
    return KeyRing(settings.keys_dsn.get_secret_value(), kek)


async def project(system: System) -> None:
    """What the projections service does, without waiting for Faust to be ready."""
    settings = system.settings
    projector = Projector(settings.views_dsn.get_secret_value(), keys_of(system))
    starts = {shard: seen.next_offset for shard, seen in projector.load().items()}
    async with BulkReader(settings) as reader:
        async for records in reader.read(starts, await reader.ends(starts)):
            projector.apply(records)
    projector.reset()


def published(system: System) -> bool:
    """The relay has nothing left."""
    with system.store() as store:
        return store.execute("SELECT bool_and(published_sequence = sequence) FROM shards").fetchone() == (
            True,
        )


@pytest.fixture(scope="package")
def system() -> Iterator[System]:
    with running(SHARDS) as started:
        worker = started.started("ledger")
        asyncio.run(_spend(started))
        eventually(lambda: published(started), 15, what="all is in the topic")
        worker.stop()
        asyncio.run(project(started))
        yield started
