"""Intake under the faults that Faust is known for, with the played business as input: wallets are what its books say.

An exception in the agent would drop what was in flight, a kill may skip, a checkpoint may be older than what was done, a
process that was frozen comes back to partitions that are another's.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from events.topics import PAYMENTS, PAYMENTS_PARTITIONS
from services.upstream.business import Business
from services.upstream.trade import DAY
from services.upstream.world import Delivery, Trouble
from tests import seeds
from tests.integration.test_intake import checked_off, envelope, payment, publish, wallets
from tests.running import Process, System, eventually, running

pytestmark = pytest.mark.timeout(240)

START = 1_790_000_000_000_000
OPEN = ("USD", "INR")
WAIT_SECONDS = 20.0
"""A dispute may be told before a fault and its payment after it: shorter than that, it would be a dead letter."""
RECORDS = "wallet_ledger_intake_records_total"

Fault = Callable[[System, Process], Process]
"""Given what runs, what runs afterwards."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(upstream_mode="test", upstream_wait_seconds=WAIT_SECONDS) as system:
        system.started("ledger")
        yield system


def again(intake: Process) -> Process:
    intake.start()
    intake.wait_ready()
    return intake


def killed(system: System, intake: Process) -> Process:
    intake.kill()
    return again(intake)


def thrown(system: System, intake: Process) -> Process:
    """Its database goes away in the midst of its work: nothing may be acknowledged, the process must end."""
    with system.views() as views:
        views.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wallet-ledger intake'"
        )
    eventually(lambda: intake.returncode() is not None, what="it ends by itself")
    assert intake.returncode() == 1
    return again(intake)


def lost_after_a_rebalance(system: System, intake: Process) -> Process:
    other = system.started("intake", "intake-2")
    intake.kill()
    return other


def put_back(system: System, intake: Process) -> Process:
    """As a restored database would have it."""
    intake.kill()
    with system.views() as views:
        views.execute("UPDATE intake_checkpoints SET next_offset = next_offset / 2")
    return again(intake)


def frozen(system: System, intake: Process) -> Process:
    """Longer than its session: the other has its partitions when it wakes up, and it may write what it still holds."""
    intake.freeze()
    other = system.started("intake", "intake-2")
    total = published(system)
    eventually(lambda: other.metric(RECORDS) > 0 or checked(system) == total, what="the other goes on")
    intake.thaw()
    return other


def published(system: System) -> int:
    """How many records the topic holds."""

    async def ends() -> int:
        async with AIOKafkaConsumer(bootstrap_servers=system.settings.kafka_bootstrap) as consumer:
            places = [TopicPartition(PAYMENTS.name, number) for number in range(PAYMENTS_PARTITIONS)]
            return sum((await consumer.end_offsets(places)).values())

    return asyncio.run(ends())


def checked(system: System) -> int:
    with system.views() as views:
        return checked_off(views)


def waiting(system: System) -> int:
    """Disputes whose payment is not known, or was joined by another process at the same moment."""
    with system.views() as views:
        return int(views.execute("SELECT count(*) FROM intake_waiting").fetchone()[0])  # type: ignore[index]


@pytest.mark.parametrize("fault", [killed, thrown, lost_after_a_rebalance, put_back, frozen])
def test_nothing_is_lost_and_nothing_is_doubled(system: System, fault: Fault) -> None:
    seed = seeds.chosen()
    random.seed(seed)  # who publishes draws partitions
    name = f"bus_{fault.__name__}"
    business = Business(seed, name, "test", START, 60, Trouble(), joining=2 * DAY)
    letters = [*business.world.play(START + 3 * DAY), *business.world.drain()]
    values = [one.value for one in letters if isinstance(one, Delivery)]
    half = len(values) // 2
    intake = system.started("intake")
    asyncio.run(publish(system, values[:half]))
    eventually(lambda: wallets(system, name)[1].total() > 5, what="the first facts")
    intake = fault(system, intake)
    asyncio.run(publish(system, values[half:]))
    total = published(system)
    eventually(lambda: checked(system) == total, what="all checked off")
    eventually(lambda: not waiting(system), seconds=3 * WAIT_SECONDS, what="nothing waits")
    expected = {purse[0]: 0 for purse in business.world.books.wallets}
    for (customer, currency), amount in business.world.books.wallets.items():
        expected[customer] += amount if currency in OPEN else 0
    balances, types = wallets(system, name)
    assert +balances == {customer: amount for customer, amount in expected.items() if amount}
    assert types["wallet.shortfall_recorded.v1"] == 0
    system.kill_services("intake", "intake-2")


def poison() -> list[bytes | None]:
    """What a topic that anybody may write to will hold one day."""
    whole = envelope("payment.succeeded", 1, payment(1, "succeeded"), "bus_poison")

    def with_(**more: object) -> bytes:
        return json.dumps({**whole, "data": {**whole["data"], "payment_id": "pay_bad", **more}}).encode()

    def without(*names: str) -> bytes:
        return json.dumps({name: value for name, value in whole.items() if name not in names}).encode()

    return [
        None, b"", b"\xff\xfe", b"\x1f\x8b\x08\x00", b"\xef\xbb\xbf{}", b"null", b"7", b'"text"', b"[]", b"{", b"{}",
        b"[" * 100_000, b'{"a":' * 5_000, b'{"data":' + b"9" * 5_000 + b"}", b"NaN", b'{"type":"payment.succeeded"}',
        without("type"), without("timestamp"), without("data"), without("business_id"),
        json.dumps({**whole, "timestamp": "yesterday"}).encode(),
        json.dumps({**whole, "timestamp": "0000-00-00T00:00:00Z"}).encode(),
        json.dumps({**whole, "timestamp": 1.5}).encode(),
        json.dumps({**whole, "mode": "production"}).encode(),
        json.dumps({**whole, "business_id": {"a": 1}}).encode(),
        json.dumps({**whole, "business_id": "b" * 10_000}).encode(),
        json.dumps({**whole, "data": []}).encode(),
        with_(total_amount=-1), with_(total_amount=1.5), with_(total_amount="1"), with_(total_amount=2**70),
        with_(total_amount=None), with_(total_amount=True), with_(currency="usd"), with_(currency=None),
        with_(currency="USDX"), with_(payment_id=None), with_(payment_id=7), with_(payment_id=""),
        with_(payment_id="p" * 500), with_(payment_id="pay \u0000"), with_(payment_id="pay_é"),
        with_(customer={"customer_id": "../../etc"}), with_(customer={"customer_id": "c" * 500}),
        with_(customer={"customer_id": 5}), with_(filler="x" * 140_000),
        with_(filler=7).replace(b'"filler": 7', b'"filler": ' + b"[" * 700 + b'"\\u0000"' + b"]" * 700),
        b'{"business_id":"bus_poison","type":"payment.succeeded","timestamp":"2026-11-23T10:00:00Z",'
        b'"data":{"payment_id":"pay_bad","currency":"USD","total_amount":1,"customer":{"customer_id":"cus_\\ud800"}}}',
    ]  # fmt: skip


def test_poison_between_good_ones_stops_no_partition(system: System) -> None:
    intake = system.started("intake")
    bad = poison()
    asyncio.run(_laced(system, bad))
    total = published(system)
    eventually(lambda: checked(system) == total, what="all checked off")
    balances, types = wallets(system, "bus_poison")
    good = len(bad) + PAYMENTS_PARTITIONS
    assert balances.total() == sum(900 + number for number in range(1_000, 1_000 + good)), (
        "the good ones only"
    )
    assert types["payment.recorded.v1"] == good
    letters = intake.metric("wallet_ledger_intake_dead_letters_total")
    assert letters == len(bad), "each of the bad ones lies in dead letters"
    system.kill_services("intake")


async def _laced(system: System, bad: list[bytes | None]) -> None:
    """Every bad record between two good ones of its partition."""
    async with AIOKafkaProducer(bootstrap_servers=system.settings.kafka_bootstrap) as producer:
        for number, value in enumerate([*bad, *[b"-"] * PAYMENTS_PARTITIONS]):
            place = number % PAYMENTS_PARTITIONS
            body = payment(1_000 + number, "succeeded")
            good = json.dumps(envelope("payment.succeeded", number, body, "bus_poison")).encode()
            await producer.send(PAYMENTS.name, good, partition=place)
            if value != b"-":
                await producer.send(PAYMENTS.name, value, key=b"any", partition=place)
        await producer.flush()
