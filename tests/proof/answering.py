"""Upstream, as a payment service is to us: it reads `payments.requests`, does or fails each refund once, and tells so."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from events.codec import timestamp
from events.topics import PAYMENTS, REQUESTS

FAILS_OFTEN = 0.2
TELLS_AGAIN_OFTEN = 0.1


class Payment(NamedTuple):
    """In US cents."""

    name: str
    customer: str
    total: int


@dataclass
class Heard:
    """Payment and amount of each request: of all that were asked, and of those that upstream did."""

    asked: dict[str, tuple[str, int]] = field(default_factory=dict)
    given: dict[str, tuple[str, int]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    ids: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Under which each request was published."""


class Answering:
    """Runs as long as it is entered."""

    def __init__(self, bootstrap: str, shards: int, business: str, seed: int) -> None:
        self.heard = Heard()
        self._business = business
        self._places = [TopicPartition(REQUESTS.name, shard) for shard in range(shards)]
        self._draw = random.Random(seed)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self._answering: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._producer.start()
        self._consumer.assign(self._places)
        await self._consumer.seek_to_end(*self._places)
        self._answering = asyncio.create_task(self._answer())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises what ended it before."""
        assert self._answering is not None
        self._answering.cancel()
        with suppress(asyncio.CancelledError):
            await self._answering
        await self._consumer.stop()
        await self._producer.stop()

    async def pay(self, payments: list[Payment]) -> None:
        """Tell of payments that succeeded."""
        for one in payments:
            await self._tell(
                "payment.succeeded", _of(one.name, one.customer) | {"total_amount": one.total, "tax": 0}
            )

    async def all_heard(self, requests: Collection[str]) -> None:
        """Returns when it was asked for all of them."""
        while not self.heard.asked.keys() >= set(requests):
            self._news.clear()
            await self._news.wait()

    async def _answer(self) -> None:
        async for record in self._consumer:
            event = json.loads(record.value)
            if event["businessid"] == self._business:
                await self._take(event)

    async def _take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        request, refund = data["request_id"], (data["payment_id"], data["amount"])
        self.heard.ids[request].add(event["id"])
        if request in self.heard.asked:
            return
        self.heard.asked[request] = refund
        self._news.set()
        done = self._draw.random() >= FAILS_OFTEN
        if done:
            self.heard.given[request] = refund
        else:
            self.heard.failed.add(request)
        told = _of(data["payment_id"], event["subject"]) | {
            "refund_id": f"upstream_{request}", "amount": data["amount"], "metadata": {"request_id": request},
        }  # fmt: skip
        for _ in range(2 if self._draw.random() < TELLS_AGAIN_OFTEN else 1):
            await self._tell("refund.succeeded" if done else "refund.failed", told)

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        now = timestamp(int(datetime.now(UTC).timestamp() * 1e6))
        event = {"business_id": self._business, "mode": "test", "type": kind, "timestamp": now, "data": data}
        await self._producer.send_and_wait(PAYMENTS.name, json.dumps(event).encode(), partition=0)


def _of(payment: str, customer: str) -> dict[str, Any]:
    person = {"customer_id": customer, "name": "Mai", "email": "mai@example.com"}
    return {"payment_id": payment, "customer": person, "currency": "USD"}
