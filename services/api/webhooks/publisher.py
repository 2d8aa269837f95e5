"""What upstream delivered by webhook, on its way to Kafka. A producer of its own: commands never wait behind it."""

import asyncio

from aiokafka.errors import KafkaError

from events.topics import PAYMENTS
from services.api.webhooks.door import NotPublished
from services.kafka import client_options
from services.producing import LastingProducer
from services.settings import Settings

PUBLISH_SECONDS_MAX = 5.0
"""Upstream waits 15 s for an answer."""

IN_FLIGHT_MAX = 256


class KafkaPublisher:
    """Implements `door.Publisher`."""

    def __init__(self, settings: Settings, topic: str = PAYMENTS.name) -> None:
        self._in_flight = 0
        self._producer = LastingProducer(topic, **client_options(settings))

    async def start(self) -> None:
        """Raises KafkaError."""
        await self._producer.start()

    async def stop(self) -> None:
        """What is queued has no answer yet: upstream delivers it again."""
        await self._producer.stop()

    async def publish(self, key: bytes, value: bytes) -> None:
        """See `door.Publisher`."""
        if self._in_flight >= IN_FLIGHT_MAX:
            raise NotPublished("too many are in flight")
        self._in_flight += 1
        try:
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                await (await self._producer.send(value, key=key))
        except (TimeoutError, KafkaError) as error:
            raise NotPublished(type(error).__name__) from error
        finally:
            self._in_flight -= 1
