"""Offsets of payments.events that no record has: ends of transactions, and what expired. Nobody waits for them."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from events.topics import PAYMENTS
from services.intake.watch import NOT_READY_SECONDS
from tests.integration.test_intake import envelope, payment, wallets
from tests.running import Process, System, eventually, running

PLACE = TopicPartition(PAYMENTS.name, 3)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(upstream_mode="live") as system:
        system.started("ledger")
        yield system


def paid(number: int) -> bytes:
    return json.dumps(envelope("payment.succeeded", number, payment(number, "succeeded"))).encode()


def balances(system: System) -> dict[str, int]:
    return dict(wallets(system)[0])


def stays_ready(intake: Process) -> None:
    """For longer than anything may wait without being told."""
    until = time.monotonic() + NOT_READY_SECONDS + 4
    while time.monotonic() < until:
        assert intake.problems() == {}
        time.sleep(0.2)


async def _in_transactions(system: System, intake: Process) -> None:
    """One committed, one aborted, and one that is open while a record by itself comes behind it."""
    bootstrap = system.settings.kafka_bootstrap
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="upstream") as upstream,
        AIOKafkaProducer(bootstrap_servers=bootstrap) as other,
    ):
        async with upstream.transaction():
            await upstream.send_and_wait(PLACE.topic, paid(1), partition=PLACE.partition)
        await upstream.begin_transaction()
        await upstream.send_and_wait(PLACE.topic, paid(2), partition=PLACE.partition)
        await upstream.abort_transaction()
        await asyncio.to_thread(eventually, lambda: balances(system) == {"cus_1": 901}, what="the first")
        await upstream.begin_transaction()
        await upstream.send_and_wait(PLACE.topic, paid(3), partition=PLACE.partition)
        await other.send_and_wait(PLACE.topic, paid(4), partition=PLACE.partition)
        await asyncio.to_thread(stays_ready, intake)
        assert balances(system) == {"cus_1": 901}
        await upstream.commit_transaction()


def test_a_transaction_counts_once_it_is_committed_and_its_end_is_waited_for_by_nobody(
    system: System,
) -> None:
    intake = system.started("intake")
    asyncio.run(_in_transactions(system, intake))
    expected = {"cus_1": 901, "cus_3": 903, "cus_4": 904}
    eventually(lambda: balances(system) == expected, what="all but the one that was aborted")
    system.kill_services("intake")


async def _expired(system: System) -> None:
    bootstrap = system.settings.kafka_bootstrap
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for number in (5, 6):
            sent = await producer.send_and_wait(PLACE.topic, paid(number), partition=PLACE.partition)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({PLACE: RecordsToDelete(before_offset=sent.offset + 1)})
    finally:
        await admin.close()


def test_records_that_expired_before_they_were_read_are_waited_for_by_nobody(system: System) -> None:
    before = balances(system)
    asyncio.run(_expired(system))
    intake = system.started("intake")
    stays_ready(intake)
    assert balances(system) == before

    async def publish() -> None:
        async with AIOKafkaProducer(bootstrap_servers=system.settings.kafka_bootstrap) as producer:
            await producer.send_and_wait(PLACE.topic, paid(7), partition=PLACE.partition)

    asyncio.run(publish())
    eventually(lambda: balances(system) == {**before, "cus_7": 907}, what="what comes after them")
    system.kill_services("intake")
