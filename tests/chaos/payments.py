"""Top-ups that upstream tells of while everything dies, a tenth of them again and again; each must count once."""

import asyncio
import json
import logging
import random
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from events.codec import timestamp
from events.topics import PAYMENTS

START_MICROS = 1_790_000_000_000_000
TAX = 7
REPEATED_OFTEN = 0.1
PAUSE_SECONDS = 0.5
SECONDS_MAX = 5.0


@dataclass(frozen=True)
class TopUp:
    """One payment. The wallet gets what is left after tax."""

    payment: str
    customer: str
    total: int

    @property
    def amount(self) -> int:
        return self.total - TAX

    def told(self, business: str, number: int) -> dict[str, Any]:
        person = {"customer_id": self.customer, "name": "N", "email": "n@example.com"}
        return {
            "business_id": business,
            "type": "payment.succeeded",
            "timestamp": timestamp(START_MICROS + number * 1_000_000),
            "data": {
                "payment_id": self.payment,
                "customer": person,
                "status": "succeeded",
                "currency": "USD",
                "total_amount": self.total,
                "tax": TAX,
                "metadata": {"wallet_action": "top_up"},
            },
        }


class Payments:
    """Tells each one until Kafka has it."""

    def __init__(
        self, bootstrap: str, business: str, customers: list[str], seed: int, per_second: float
    ) -> None:
        self._bootstrap = bootstrap
        self._business = business
        self._customers = customers
        self._seed = seed
        self._random = random.Random(seed)
        self._pause = 1 / per_second
        self._stopping = False
        self.told: list[TopUp] = []

    async def run(self) -> None:
        """Until `stop`; with a producer of its own for each time that Kafka was away."""
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that it is away is known
        while not self._stopping:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, acks="all", request_timeout_ms=int(SECONDS_MAX * 1000)
            )
            try:
                await producer.start()
                while not self._stopping:
                    await self._tell(producer)
                    await asyncio.sleep(self._pause)
            except (KafkaError, TimeoutError):
                await asyncio.sleep(PAUSE_SECONDS)  # what was not acknowledged is told once more
            finally:
                await producer.stop()

    def stop(self) -> None:
        self._stopping = True

    async def _tell(self, producer: AIOKafkaProducer) -> None:
        draw = self._random
        again = self.told and draw.random() < REPEATED_OFTEN
        number = draw.randrange(len(self.told)) if again else len(self.told)
        one = self.told[number] if again else self._next(number)
        value = json.dumps(one.told(self._business, number)).encode()
        sent = producer.send_and_wait(PAYMENTS.name, value, partition=draw.randrange(8))
        await asyncio.wait_for(sent, 2 * SECONDS_MAX)
        if not again:
            self.told.append(one)

    def _next(self, number: int) -> TopUp:
        """The same again, while it has not been acknowledged."""
        draw = random.Random(self._seed * 1_000_003 + number)
        total = draw.randrange(100, 900)
        return TopUp(f"pay_{self._seed}x{number}", draw.choice(self._customers), total)
