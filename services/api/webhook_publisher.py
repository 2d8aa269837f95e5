"""What upstream delivered by webhook, on its way to Kafka. A producer of its own: commands never wait behind it."""

import asyncio

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from events.topics import PAYMENTS
from services.api.webhooks import NotPublished
from services.kafka import client_options
from services.settings import Settings

log = structlog.get_logger()

PUBLISH_SECONDS_MAX = 5.0
"""Upstream waits 15 s for an answer."""

IN_FLIGHT_MAX = 256
_STOP_SECONDS_MAX = 3.0


class KafkaPublisher:
    """Implements `webhooks.Publisher`."""

    def __init__(self, settings: Settings, topic: str = PAYMENTS.name) -> None:
        self._settings = settings
        self._topic = topic
        self._in_flight = 0
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Raises KafkaError."""
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, **client_options(self._settings)
        )
        await self._producer.start()

    async def stop(self) -> None:
        """What is queued has no answer yet: upstream delivers it again."""
        if self._producer is not None:
            try:
                await asyncio.wait_for(self._producer.stop(), _STOP_SECONDS_MAX)
            except (TimeoutError, KafkaError) as error:
                log.warning("the publisher of webhooks did not stop", error=type(error).__name__)

    async def publish(self, key: bytes, value: bytes) -> None:
        """See `webhooks.Publisher`."""
        assert self._producer is not None, "start first"
        if self._in_flight >= IN_FLIGHT_MAX:
            raise NotPublished("too many are in flight")
        self._in_flight += 1
        try:
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                await self._producer.send_and_wait(self._topic, value, key=key)
        except (TimeoutError, KafkaError) as error:
            raise NotPublished(type(error).__name__) from error
        finally:
            self._in_flight -= 1
