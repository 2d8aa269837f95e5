"""Intake on real servers: repeats, no order, poison, kill -9; wallets are what the last word on each object says."""

import asyncio
import functools
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from dodopayments import DodoPayments
from pydantic import SecretStr

from events.codec import decode_envelope, decode_fact, timestamp
from events.dead_letters import SealedLetter
from events.facts import Movement, WalletCredited
from events.topics import DEAD_LETTERS, PAYMENTS
from services.mistakes import ExitCode
from services.standalone.environment import environment
from tests import seeds
from tests.running import Process, System, eventually, running
from tests.unit.api.webhook_fakes import signed

START = 1_790_000_000_000_000
CUSTOMERS = 12
TOP_UPS = 60


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(upstream_mode="live") as system:
        system.started("ledger")
        yield system


def envelope(kind: str, at: int, data: dict[str, Any], business: str = "bus_1") -> dict[str, Any]:
    return {
        "business_id": business,
        "type": kind,
        "timestamp": timestamp(START + at * 1_000_000),
        "data": data,
    }


def person(number: int) -> dict[str, Any]:
    return {"customer_id": f"cus_{number}", "name": f"N{number}", "email": f"n{number}@example.com"}


def payment(number: int, status: str, **more: Any) -> dict[str, Any]:
    """With nulls and fields of tomorrow, as in production."""
    return {
        "payment_id": f"pay_{number}",
        "customer": person(number % CUSTOMERS),
        "status": status,
        "currency": "USD",
        "total_amount": 1_000 + number,
        "tax": None if status == "processing" else 100,
        "payment_method": None,
        "metadata": {"wallet_action": "top_up"},
        "of_tomorrow": {"a": [1.5]},
        **more,
    }


def month() -> tuple[list[dict[str, Any]], Counter[str]]:
    """What upstream says, and what each wallet comes to by the last word on everything."""
    said: list[dict[str, Any]] = []
    wallets: Counter[str] = Counter()
    for number in range(TOP_UPS):
        customer = f"cus_{number % CUSTOMERS}"
        at = number * 10
        said.append(envelope("payment.processing", at, payment(number, "processing")))
        said.append(envelope("payment.succeeded", at + 1, payment(number, "succeeded")))
        wallets[customer] += 900 + number
        if number % 4 == 0:
            dispute = {"dispute_id": f"dp_{number}", "payment_id": f"pay_{number}", "amount": "300"}
            said.append(envelope("dispute.opened", at + 2, {**dispute, "currency": "USD"}))
            wallets[customer] -= 300
            if number % 8 == 0:
                said.append(envelope("dispute.won", at + 3, {**dispute, "dispute_status": "dispute_won"}))
                wallets[customer] += 300
        if number % 5 == 0:
            sub = {
                "subscription_id": f"sub_{number}",
                "customer": person(number % CUSTOMERS),
                "status": "active",
            }
            said.append(envelope("subscription.renewed", at + 4, sub))
            said.append(envelope("credit.added", at + 5, {"customer_id": customer, "amount": "1.5"}))
            said.append(envelope("something.new", at + 6, {"customer_id": customer}))
    said.append(envelope("payout.created", 1, {"payout_id": "pyt_1"}))
    return said, wallets


async def publish(system: System, values: list[bytes]) -> None:
    """Any key, any partition."""
    producer = AIOKafkaProducer(bootstrap_servers=system.settings.kafka_bootstrap)
    await producer.start()
    try:
        for value in values:
            await producer.send(PAYMENTS.name, value, partition=random.randrange(8))
        await producer.flush()
    finally:
        await producer.stop()


async def dead_letters(system: System) -> list[SealedLetter]:
    consumer = AIOKafkaConsumer(bootstrap_servers=system.settings.kafka_bootstrap)
    await consumer.start()
    try:
        place = TopicPartition(DEAD_LETTERS.name, 0)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        [end] = (await consumer.end_offsets([place])).values()
        return [msgspec.json.decode((await consumer.getone()).value, type=SealedLetter) for _ in range(end)]
    finally:
        await consumer.stop()


def command(system: System, *words: str) -> str:
    """What `wallet-ledger dead-letters` says."""
    argv = [sys.executable, "-m", "services.cli", "dead-letters", *words]
    return subprocess.run(
        argv, env=environment(system.settings), capture_output=True, check=True
    ).stdout.decode()


def wallets(system: System, business: str = "bus_1") -> tuple[Counter[str], Counter[str]]:
    """Balances and numbers of events by type, from the stored events."""
    balances: Counter[str] = Counter()
    types: Counter[str] = Counter()
    with system.store() as store:
        rows = store.execute("SELECT state FROM stored_events ORDER BY shard, sequence").fetchall()
    for (value,) in rows:
        event = decode_envelope(value)
        if event.businessid == business:
            fact = decode_fact(event)
            types[event.type] += 1
            if isinstance(fact, Movement):
                balances[event.subject] += fact.amount if isinstance(fact, WalletCredited) else -fact.amount
    return balances, types


def checked_off(views: psycopg.Connection[Any]) -> int:
    return int(views.execute("SELECT coalesce(sum(next_offset), 0) FROM intake_checkpoints").fetchone()[0])  # type: ignore[index]


def test_repeats_no_order_and_kills_change_nothing(system: System) -> None:
    random.seed(seeds.chosen())
    said, expected = month()
    sent = [json.dumps(one).encode() for one in [*said, *random.sample(said, len(said) // 10)]]
    random.shuffle(sent)
    intake: Process = system.started("intake")
    with system.views() as views:
        half = len(sent) // 2
        asyncio.run(publish(system, sent[:half]))
        eventually(lambda: wallets(system)[1].total() > 5, what="the first facts")
        intake.kill()
        asyncio.run(publish(system, sent[half:]))
        intake.start()
        eventually(lambda: checked_off(views) == len(sent), what="all checked off")
        assert views.execute("SELECT count(*) FROM intake_waiting").fetchone() == (0,)
    balances, types = wallets(system)
    assert balances == expected
    assert types["customer.registered.v1"] == CUSTOMERS
    assert types["upstream.recorded.v1"] == 2 * (TOP_UPS // 5)
    assert types["payment.recorded.v1"] >= TOP_UPS
    with system.store() as store:
        raw = b"".join(bytes(v) for (v,) in store.execute("SELECT state FROM stored_events").fetchall())
    assert b"@example.com" not in raw
    intake.kill()


def test_poison_stops_nothing_and_lies_in_dead_letters(system: System) -> None:
    good = envelope("payment.succeeded", 1, payment(1, "succeeded"), "bus_2")
    event = {"specversion": "1.0", "id": "1", "source": "/pay", "type": "com.example.payment.succeeded"}
    cloud = {
        **event,
        "time": "2026-11-23T10:00:00+01:00",
        "businessid": "bus_2",
        "data": payment(2, "succeeded"),
    }
    lonely = envelope("dispute.opened", 2, {"dispute_id": "dp_1", "payment_id": "pay_never"}, "bus_2")
    poison = [b"", b"{", b"[]", b'{"type":"x","data":{}}', b'{"type":"payment.failed","data":{"a":"\xff"}}']
    poison.append(json.dumps(envelope("payment.failed", 1, {"payment_id": "pay_1"}, "bus_2")).encode())
    intake = system.started("intake", upstream_wait_seconds=0.5)
    asyncio.run(publish(system, [*poison, *(json.dumps(one).encode() for one in (good, cloud, lonely))]))
    eventually(lambda: wallets(system, "bus_2")[0] == {"cus_1": 901, "cus_2": 902}, what="the good ones")
    eventually(
        lambda: intake.metric("wallet_ledger_intake_dead_letters_total") == len(poison) + 1,
        what="all letters",
    )
    letters = [one for one in asyncio.run(dead_letters(system)) if one.topic == PAYMENTS.name]
    codes = Counter(one.code for one in letters)
    assert codes == {"NOT_JSON": 3, "NOT_AN_EVENT": 1, "INCOMPLETE": 2, "PAYMENT_UNKNOWN": 1}
    [late] = json.loads(command(system, "list", "--code", "PAYMENT_UNKNOWN", "--json"))
    assert json.loads(command(system, "show", str(late["letter"]))) == lonely
    paid = envelope("payment.succeeded", 3, {**payment(9, "succeeded"), "payment_id": "pay_never"}, "bus_2")
    asyncio.run(publish(system, [json.dumps(paid).encode()]))
    eventually(lambda: wallets(system, "bus_2")[0]["cus_9"] == 909, what="its payment")
    command(system, "redrive", str(late["letter"]))
    eventually(lambda: wallets(system, "bus_2")[0]["cus_9"] == 0, what="the dispute, after all")
    intake.kill()


IMPATIENT = """
import sys
from services.intake import __main__, watch
from services.settings import Settings

watch.Watch.no_progress_seconds_max = 3.0
watch.NOT_READY_SECONDS = 1.0
sys.exit(__main__.main(Settings()))
"""
"""An intake process that would end soon if it took a ledger that is away for a hang of its own."""


def test_a_ledger_that_is_away_is_waited_for(system: System) -> None:
    system.kill_services("ledger")
    intake = system.service("intake")
    intake._argv = [sys.executable, "-c", IMPATIENT]
    intake.start()
    intake.wait_ready()
    with system.views() as views:
        before = checked_off(views)
        said = [
            envelope("payment.succeeded", n, payment(n, "succeeded"), "bus_4") for n in range(3 * CUSTOMERS)
        ]
        asyncio.run(publish(system, [json.dumps(one).encode() for one in said]))
        waits = functools.partial(intake.metric, "wallet_ledger_intake_outcome_wait_seconds")
        eventually(lambda: waits() > 8, what="asked again, and longer than it would wait for anything else")
        assert set(intake.problems()) == {"ledger"}
        assert checked_off(views) == before
        system.started("ledger")
        eventually(lambda: checked_off(views) == before + len(said), what="all checked off")
    eventually(lambda: intake.problems() == {}, what="all is well again")
    assert intake.returncode() is None
    balances, types = wallets(system, "bus_4")
    assert balances.total() == sum(900 + n for n in range(len(said)))
    assert types["payment.recorded.v1"] == len(said)
    system.kill_services("intake")


def _posted(api: Process, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    try:
        answer = httpx.post(f"http://127.0.0.1:{api.port}{path}", content=body, headers=headers)
    except httpx.ConnectError:
        return 0, None
    return answer.status_code, answer.json()


def test_read_models_without_its_tables_are_one_line(system: System) -> None:
    empty = SecretStr(system.postgres.create_database("empty"))
    process = system.service("intake", "lost", views_dsn=empty)
    process.start()
    assert eventually(process.returncode, what="it ends") == ExitCode.MISFIT
    [line] = [line for line in process.log.read_text().splitlines() if not line.startswith("{")]
    assert line.startswith("wallet-ledger: ")
    assert "run `wallet-ledger migrate`" in line


def test_a_webhook_moves_money_once(system: System) -> None:
    """Signed by the endpoint's secret; the SDK reads it as we do."""
    argv = [
        sys.executable,
        "-m",
        "services.cli",
        "webhooks",
        "create",
        "--business",
        "bus_3",
        "--mode",
        "live",
        "--json",
    ]
    done = subprocess.run(argv, env=environment(system.settings), capture_output=True, check=True)
    endpoint = json.loads(done.stdout)
    body = json.dumps(
        envelope("payment.succeeded", 1, {**payment(3, "succeeded"), "business_id": "bus_3"}, "bus_3")
    ).encode()
    headers = signed(body, endpoint["secret"])
    unwrapped = DodoPayments(bearer_token="x").webhooks.unwrap(
        body.decode(), headers=headers, key=endpoint["secret"]
    )
    assert unwrapped.type == "payment.succeeded"
    api, intake = system.service("api"), system.started("intake")
    api.start()
    take = functools.partial(_posted, api, endpoint["path"], body)
    assert eventually(lambda: take(headers) if take({})[0] else None, what="the api") == (
        200,
        {"status": "taken"},
    )
    assert take(signed(body, endpoint["secret"])) == (200, {"status": "duplicate"})
    assert take(signed(body, endpoint["secret"], "msg_2")) == (200, {"status": "taken"})
    assert take(headers | {"webhook-id": "msg_3"})[0] == 401
    with system.views() as views:
        ends = checked_off(views)
        eventually(lambda: wallets(system, "bus_3")[0] == {"cus_3": 903}, what="the credit")
        asyncio.run(publish(system, [body]))
        eventually(lambda: checked_off(views) > ends, what="the same fact through Kafka")
    balances, types = wallets(system, "bus_3")
    assert balances == {"cus_3": 903}
    assert types["payment.recorded.v1"] == 1
    for process in (api, intake):
        process.kill()
        told = process.log.read_text()
        assert "@example.com" not in told
        assert endpoint["secret"] not in told
