"""How every process reaches Kafka."""

import asyncio
import ssl
from typing import Any, Protocol

from services.settings import Settings

STOP_SECONDS_MAX = 3.0

ISOLATION_LEVEL = "read_committed"
"""Of who reads what others publish, and of who asks where it ends: what a transaction took back was never said."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments common to all aiokafka clients."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "security_protocol": settings.kafka_security_protocol,
    }
    context = ssl_context(settings)
    if context is not None:
        options["ssl_context"] = context
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """None where the protocol has no TLS; else verified against `kafka_ssl_cafile` or the system's authorities."""
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    return ssl.create_default_context(cafile=settings.kafka_ssl_cafile or None)


class Client(Protocol):
    """A producer or consumer of aiokafka."""

    async def stop(self) -> None: ...


async def ended(client: Client, seconds: float = STOP_SECONDS_MAX) -> None:
    """Stop it, or leave it after a while.

    A consumer whose fetch waits to be repeated stops with a CancelledError, though nobody cancelled anything: whoever
    awaited that would take himself for cancelled.

    Raises:
        KafkaError, TimeoutError: it did not stop in order.
    """
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait({stopping}, timeout=seconds)
        if not stopping.done():
            raise TimeoutError
        if not stopping.cancelled():
            stopping.result()
    finally:
        stopping.cancel()
