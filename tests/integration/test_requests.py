"""Requests end to end, on real servers: asked over HTTP, decided once, published to upstream, answered by it."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from dodopayments import BadRequestError, DodoPayments
from dodopayments.types import Refund

from events.codec import decode_envelope, decode_fact, timestamp
from events.ids import Tenant, owner_of
from events.requested import RefundRequested
from events.topics import REQUESTS
from services.api.keys import create_key
from tests.integration.test_intake import envelope, payment, person, publish
from tests.running import Process, System, eventually, running


class Shop(NamedTuple):
    """All services, and a key that may do everything."""

    system: System
    intake: Process
    api: Process
    secret: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    @property
    def client(self) -> DodoPayments:
        return DodoPayments(
            bearer_token=self.secret, base_url=self.url, _strict_response_validation=True, max_retries=2
        )

    def tell(self, *events: dict[str, Any]) -> None:
        asyncio.run(publish(self.system, [json.dumps(one).encode() for one in events]))

    def paid(self, number: int, **more: Any) -> str:
        """A purchase that the read models show."""
        data = payment(number, "succeeded", metadata={}, **more)
        self.tell(envelope("payment.succeeded", 1, data))
        identifier: str = data["payment_id"]
        eventually(lambda: self.read(f"/payments/{identifier}").status_code == 200, what="a payment")
        return identifier

    def read(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {self.secret}"}, trust_env=False)

    def post(self, path: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.secret}"}
        return httpx.post(self.url + path, json=body, headers=headers, trust_env=False)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with running(upstream_mode="test") as system:
        system.started("ledger")
        system.started("projections")
        intake, api = system.started("intake"), system.started("api")
        dsn = system.settings.views_dsn.get_secret_value()
        _, secret = create_key(dsn, "bus_1", "test", "shop", {"read", "write", "refund"})
        yield Shop(system, intake, api, secret)


def asked_of_upstream(system: System) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=system.settings.kafka_bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(REQUESTS.name, n) for n in range(system.settings.shards)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            return [json.loads((await consumer.getone()).value) for _ in range(sum(ends.values()))]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def published(system: System, request_id: str) -> list[dict[str, Any]]:
    return [one for one in asked_of_upstream(system) if one["data"]["request_id"] == request_id]


def requested(system: System) -> list[RefundRequested]:
    with system.store() as store:
        rows = store.execute("SELECT state FROM stored_events WHERE topic = 'refund.requested.v1'").fetchall()
    facts = [decode_fact(decode_envelope(value)) for (value,) in rows]
    return [fact for fact in facts if isinstance(fact, RefundRequested)]


def test_a_refund_is_asked_for_published_and_answered(shop: Shop) -> None:
    identifier = shop.paid(1)
    made = shop.client.refunds.create(payment_id=identifier, reason="broken", metadata={"ticket": "T-1"})
    assert isinstance(made, Refund)
    assert (made.status, made.amount, made.is_partial) == ("pending", 1_001, False)
    assert made.customer.customer_id == "cus_1"
    [asked] = eventually(lambda: published(shop.system, made.refund_id), what="the request")
    assert (asked["type"], asked["subject"], asked["mode"]) == ("refund.requested.v1", "cus_1", "test")
    assert asked["data"] == {
        "request_id": made.refund_id,
        "payment_id": identifier,
        "currency": "USD",
        "amount": 1_001,
        "is_partial": False,
        "reason": "broken",
        "metadata": {"ticket": "T-1"},
    }
    with pytest.raises(BadRequestError, match="EXISTING_REFUND_REQUEST_PROCESSING"):
        shop.client.refunds.create(payment_id=identifier)
    answer = {"payment_id": identifier, "customer": person(1), "amount": 1_001, "currency": "USD"}
    metadata = {"metadata": {"request_id": made.refund_id}}
    shop.tell(envelope("refund.succeeded", 0, {**answer, "refund_id": "ref_of_upstream", **metadata}))
    eventually(lambda: shop.client.refunds.retrieve(made.refund_id).status == "succeeded", what="the answer")
    [one] = shop.client.payments.retrieve(identifier).refunds
    assert one.refund_id == made.refund_id


def test_a_refund_into_the_wallet_and_an_invoice_that_is_paid_from_it(shop: Shop) -> None:
    identifier = shop.paid(3)
    answer = shop.post("/v1/refunds/to-wallet", payment_id=identifier, amount=500)
    assert (answer.status_code, answer.json()["status"], answer.json()["is_partial"]) == (
        200,
        "succeeded",
        True,
    )
    too_much = shop.post("/v1/refunds/to-wallet", payment_id=identifier, amount=504)
    assert (too_much.status_code, too_much.json()["code"]) == (400, "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT")
    settled = shop.post(
        "/v1/customers/cus_3/wallets/settlements", invoice_id="inv_3", currency="USD", amount=800
    ).json()
    assert (settled["applied"], settled["remaining"], settled["balance"]) == (500, 300, 0)
    failed = payment(33, "failed", customer=person(3), invoice_id="inv_3", metadata={}, total_amount=300)
    now = timestamp(time.time_ns() // 1_000)  # what was settled after it had failed would not be its part
    shop.tell(envelope("payment.failed", 5, failed) | {"timestamp": now})
    wallet = eventually(
        lambda: [w for w in shop.client.customers.wallets.list("cus_3").items if w.balance], what="given back"
    )
    assert [w.balance for w in wallet] == [500]


def test_a_subscription_is_asked_to_be_cancelled(shop: Shop) -> None:
    plan = {"subscription_id": "sub_4", "customer": person(4), "status": "active", "currency": "USD"}
    shop.tell(envelope("subscription.active", 1, plan))
    eventually(lambda: shop.read("/subscriptions/sub_4").status_code == 200, what="a subscription")
    answer = shop.client.subscriptions.with_raw_response.update("sub_4", status="cancelled")
    assert answer.parse().status == "active"
    request = answer.headers["ledger-request-id"]
    [asked] = eventually(lambda: published(shop.system, request), what="the request")
    assert asked["data"]["change"] == {"status": "cancelled"}
    again = httpx.patch(
        f"{shop.url}/subscriptions/sub_4", json={"status": "cancelled"},
        headers={"authorization": f"Bearer {shop.secret}"}, trust_env=False,
    )  # fmt: skip
    assert (again.status_code, again.json()["code"]) == (422, "EXISTING_SUBSCRIPTION_CHANGE_PROCESSING")


def test_a_killed_publisher_loses_no_request(shop: Shop) -> None:
    """kill -9 while customers ask: each request is there at least once, with one id."""
    made = []
    for number in range(60):
        if number in (20, 40):
            shop.intake.kill()
            shop.intake.start()
        answer = shop.post(
            f"/v1/customers/cus_{1 + 2 * (number % 2)}/wallets/top-ups", currency="USD", amount=1 + number
        )
        assert answer.status_code == 200, answer.text
        made.append(answer.json()["request_id"])

    def all_there() -> dict[str, set[str]]:
        ids: dict[str, set[str]] = {}
        for one in asked_of_upstream(shop.system):
            ids.setdefault(one["data"]["request_id"], set()).add(one["id"])
        return {name: ids[name] for name in made} if set(made) <= ids.keys() else {}

    found = eventually(all_there, what="all requests")
    assert all(len(ids) == 1 for ids in found.values())


def test_a_frozen_publisher_is_followed_by_another(shop: Shop) -> None:
    """Its machine lets it stand; its session with the database would keep the lock for as long."""
    other = shop.system.started("intake", "intake-2")
    os.kill(shop.intake.pid, signal.SIGSTOP)
    try:
        answer = shop.post("/v1/customers/cus_1/wallets/top-ups", currency="USD", amount=7)
        assert answer.status_code == 200, answer.text
        eventually(lambda: published(shop.system, answer.json()["request_id"]), what="the request")
    finally:
        shop.intake.kill()
        shop.intake.start()
        other.stop()


def test_who_was_erased_is_not_named(shop: Shop) -> None:
    shop.paid(5)
    with psycopg.connect(shop.system.settings.keys_dsn.get_secret_value()) as keys:
        keys.execute(
            "UPDATE data_keys SET wrapped = NULL, erased_at = now() WHERE owner = %s",
            [owner_of(Tenant("bus_1", "test"), "cus_5")],
        )
    shop.intake.kill()
    shop.intake.start()
    answer = shop.client.refunds.create(payment_id="pay_5", reason="his name is Mai")
    [asked] = eventually(lambda: published(shop.system, answer.refund_id), what="the request")
    assert set(asked["data"]) == {"request_id", "payment_id", "currency", "amount", "is_partial"}
