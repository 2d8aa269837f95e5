"""What the ledger's Kafka clients leave behind when a partition takes nothing."""

import asyncio
from typing import Any

import pytest

from services.ledger import broker as broker_module
from services.ledger.broker import KafkaBroker
from services.settings import Settings
from tests.unit.test_producing import Producer


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> KafkaBroker:
    """Its publisher has a batch that is sent again and again."""
    monkeypatch.setattr(broker_module, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(broker_module, "STOP_SECONDS_MAX", 0.01)
    found = KafkaBroker(Settings())
    found._publisher = Producer()
    return found


async def test_a_publisher_that_is_thrown_away_keeps_no_tasks_and_sockets(
    broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: Any = Producer()

    async def new() -> Any:
        return fresh

    monkeypatch.setattr(broker, "_new_publisher", new)
    retired: Any = broker._publisher
    await broker.renew_publisher()
    await asyncio.wait(broker._retired)
    assert (retired.closed, fresh.closed) == (["closed", "closed"], [])


async def test_a_broker_that_is_closed_keeps_no_tasks_and_sockets(broker: KafkaBroker) -> None:
    retired: Any = broker._publisher
    await broker.close()
    if broker._retired:
        await asyncio.wait(broker._retired)
    assert retired.closed == ["closed", "closed"]
