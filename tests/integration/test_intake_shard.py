"""A shard that no worker owns: what upstream says of the others' customers is taken all the same."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer

from events.sharding import shard_of
from events.topics import EVENTS
from tests.integration.test_intake import checked_off, envelope, payment, publish, wallets
from tests.running import System, eventually, running

pytestmark = pytest.mark.timeout(240)

SHARDS = 4
CUSTOMERS = 40
REFUSED = shard_of("cus_0", SHARDS)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(shards=SHARDS, upstream_mode="live") as system:
        asyncio.run(damage(system))
        ledger = system.service("ledger", "ledger")
        ledger.start()
        eventually(lambda: ledger.metric("wallet_ledger_shards_refused") == 1, what="one shard is refused")
        yield system


async def damage(system: System) -> None:
    """The topic has what the store lacks."""
    async with AIOKafkaProducer(bootstrap_servers=system.settings.kafka_bootstrap) as producer:
        await producer.send_and_wait(EVENTS.name, b"junk", partition=REFUSED)


def test_a_shard_that_nobody_owns_stops_no_other(system: System) -> None:
    intake = system.started("intake")
    people = [{"customer_id": f"cus_{number}"} for number in range(CUSTOMERS)]
    others = {one["customer_id"] for one in people if shard_of(one["customer_id"], SHARDS) != REFUSED}
    for turn in range(
        10
    ):  # batches that come one after the other, each with some of the shard that is refused
        said = [
            envelope("payment.succeeded", 1, payment(turn * CUSTOMERS + number, "succeeded", customer=who))
            for number, who in enumerate(people)
        ]
        asyncio.run(publish(system, [json.dumps(one).encode() for one in said]))
    eventually(
        lambda: wallets(system)[1]["payment.recorded.v1"] == 10 * len(others), what="all of the other shards"
    )
    assert wallets(system)[0].keys() == others
    found = eventually(intake.problems, what="the shard is named")
    assert f"of shards [{REFUSED}]" in found["ledger"]
    with system.views() as views:
        assert checked_off(views) < 10 * CUSTOMERS
    assert intake.returncode() is None
