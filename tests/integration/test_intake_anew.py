"""payments.events was made anew, as when its cluster is lost: nothing of the new one is skipped."""

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAlreadyExistsError

from events.topics import PAYMENTS
from services.intake.table import Name, Table, Waiting
from services.topics import ensure
from tests.docs.documents import ROOT, blocks
from tests.integration.read_models import make_views
from tests.integration.test_intake import checked_off, wallets
from tests.integration.test_intake_offsets import PLACE, paid
from tests.running import System, eventually, running

WAITING = Waiting(3, 5, Name("b", "live", "pay_1"), b"{}")


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(upstream_mode="live") as system:
        system.started("ledger")
        yield system


async def publish(system: System, numbers: range) -> None:
    async with AIOKafkaProducer(bootstrap_servers=system.settings.kafka_bootstrap) as producer:
        for number in numbers:
            await producer.send_and_wait(PLACE.topic, paid(number), partition=PLACE.partition)


async def delete(system: System) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.kafka_bootstrap)
    await admin.start()
    await admin.delete_topics([PAYMENTS.name])
    await admin.close()


def anew(system: System) -> None:
    """What it was called goes a moment after it was deleted."""
    asyncio.run(delete(system))
    eventually(
        lambda: any("payments.events: made" in line for line in _ensured(system)), what="the new topic"
    )


def _ensured(system: System) -> list[str]:
    try:
        return ensure(system.settings)
    except TopicAlreadyExistsError:
        return []


def test_a_topic_that_is_shorter_than_the_checkpoint_is_read_from_its_beginning(system: System) -> None:
    intake = system.started("intake")
    with system.views() as views:
        asyncio.run(publish(system, range(8)))
        eventually(lambda: checked_off(views) == 8, what="the old topic")
        intake.kill()
        anew(system)
        asyncio.run(publish(system, range(8, 11)))
        intake.start()
        eventually(lambda: checked_off(views) == 3, what="the place in the new topic")
        intake.kill()
        asyncio.run(publish(system, range(11, 20)))
        intake.start()
        eventually(lambda: checked_off(views) == 12, what="all of the new topic")
    assert wallets(system)[1]["payment.recorded.v1"] == 20
    system.kill_services("intake")


async def begin_again(dsn: str) -> None:
    table = Table(dsn)
    await table.open()
    try:
        await table.check_off({3: 40, 4: 40, 5: 40}, [])
        await table.park([WAITING, WAITING._replace(partition=4)])
        await table.begin_again({3: 40, 5: 39})
        assert await table.next_offsets() == {3: 0, 4: 40, 5: 40}
        await table.park([WAITING, WAITING._replace(partition=4)])
        found = await table.waiting_for([WAITING.name])
        assert sorted(one[:2] for one in found) == [(3, 5), (3, 5 + 2**44), (4, 5)]
        await table.check_off({3: 40}, [])
        await table.begin_again({3: 40})
        found = await table.waiting_for([WAITING.name])
        assert sorted(one[:2] for one in found) == [(3, 5 + 2**44), (3, 5 + 2**45), (4, 5)], "and once more"
    finally:
        await table.close()


def test_what_waits_of_the_old_topic_is_not_taken_for_what_is_in_its_place_now(
    database: Callable[[str], str],
) -> None:
    asyncio.run(begin_again(make_views(database).dsn))


def test_the_runbook_forgets_where_the_old_topic_was_read_to(database: Callable[[str], str]) -> None:
    views = make_views(database)
    [forget] = [
        block.text
        for block in blocks("sql")
        if block.document == ROOT / "docs/operations.md" and "DELETE FROM intake_checkpoints" in block.text
    ]
    with psycopg.connect(views.dsn, autocommit=True) as session:
        session.execute("INSERT INTO intake_checkpoints VALUES (3, 40)")
        session.execute(
            "INSERT INTO intake_waiting (partition, kafka_offset, business_id, mode, payment_id, value)"
            " VALUES (3, 5, 'b', 'live', 'pay_1', '{}')"
        )
        for _ in range(2):  # it may be run again
            session.execute(forget.encode())
        assert session.execute("SELECT * FROM intake_checkpoints").fetchall() == []
        assert session.execute("SELECT kafka_offset FROM intake_waiting").fetchall() == [(5 + 2**44,)]
