"""A producer that is replaced leaves nothing behind."""

import asyncio
from typing import Any

import pytest

from services import kafka
from services.producing import _discard


class Producer:
    """Of aiokafka, one of whose partitions takes nothing."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.client = self._sender = Closing(self.closed)

    async def stop(self) -> None:
        await asyncio.Event().wait()


class Closing:
    def __init__(self, closed: list[str]) -> None:
        self._closed = closed

    async def close(self) -> None:
        self._closed.append("closed")


async def test_one_that_cannot_stop_in_order_keeps_no_tasks_and_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka.ended, "__defaults__", (0.01,))
    producer: Any = Producer()
    await _discard(producer)
    assert producer.closed == ["closed", "closed"]
