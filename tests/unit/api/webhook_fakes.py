"""Endpoints, deliveries and Kafka in memory, with the contracts of the webhooks' `door`; and upstream, which signs."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from events.ids import Tenant
from services.api.ports import ViewsUnavailable
from services.api.webhooks.door import NotPublished, Opening, SecretUnreadable
from services.api.webhooks.endpoints import shown

ENDPOINT, SECOND = "whk_" + "0" * 20, "whk_" + "2" * 20
SECRET, OLD_SECRET, OTHER_SECRET = (shown(bytes([number]) * 32) for number in range(1, 4))


class FakeTopic:
    """Implements `door.Publisher`."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.away = False

    async def publish(self, key: bytes, value: bytes) -> None:
        if self.away:
            raise NotPublished
        self.records.append(json.loads(value))


class FakeDeliveries:
    """Implements `door.Deliveries`."""

    def __init__(self) -> None:
        self.noted: set[tuple[str, bytes]] = set()
        self.away = False
        self.note_fails = False

    async def taken(self, endpoint_id: str, delivery: bytes) -> bool:
        if self.away:
            raise ViewsUnavailable
        return (endpoint_id, delivery) in self.noted

    async def note(self, endpoint_id: str, delivery: bytes) -> None:
        if self.note_fails:
            raise ViewsUnavailable
        self.noted.add((endpoint_id, delivery))


class FakeEndpoints:
    """One endpoint, with an old secret for as long as a test says; and a second one, if a test says so."""

    def __init__(self, tenant: Tenant) -> None:
        self.opening: Opening | None = Opening(tenant, Webhook(SECRET), Webhook(OLD_SECRET), float("inf"))
        self.second: Opening | None = None
        self.problem: type[ViewsUnavailable] | type[SecretUnreadable] | None = None

    async def lookup(self, endpoint_id: str) -> Opening | None:
        if self.problem is not None:
            raise self.problem
        return {ENDPOINT: self.opening, SECOND: self.second}.get(endpoint_id)


def signed(body: bytes, secret: str = SECRET, identifier: str = "msg_1", ago: float = 0) -> dict[str, str]:
    """The headers that upstream sends with a body."""
    moment = datetime.fromtimestamp(int(time.time() - ago), UTC)
    return {
        "content-type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(identifier, moment, body.decode()),
    }
