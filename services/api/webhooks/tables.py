"""What the webhook door asks the database: endpoints with their secrets, and deliveries that were taken."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from standardwebhooks import Webhook

from events.ids import Tenant
from events.sealing import Unsealable
from services.api.queries.wall import Statement, shared
from services.api.webhooks.door import Opening, SecretUnreadable
from services.api.webhooks.endpoints import unwrapped

log = structlog.get_logger()

KEPT_DAYS = 3
"""Upstream repeats a delivery for 28 hours; later a repetition is found by intake."""

FORGOTTEN_MAX = 10
"""At each note: faster than they come."""

Run = Callable[[Statement, Mapping[str, Any]], Awaitable[list[Any]]]

_ENDPOINT = shared("""
    SELECT business_id, mode, secret, old_secret, old_secret_until FROM webhook_endpoints
    WHERE endpoint_id = %(endpoint_id)s AND revoked_at IS NULL""")

_TAKEN = shared("""
    SELECT true FROM webhook_deliveries WHERE endpoint_id = %(endpoint_id)s AND delivery = %(delivery)s""")

_NOTE = shared(f"""
    WITH forgotten AS (
        DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM webhook_deliveries WHERE taken_at < now() - interval '{KEPT_DAYS} days'
            ORDER BY taken_at LIMIT {FORGOTTEN_MAX} FOR UPDATE SKIP LOCKED
        ))
    )
    INSERT INTO webhook_deliveries (endpoint_id, delivery) VALUES (%(endpoint_id)s, %(delivery)s)
    ON CONFLICT DO NOTHING RETURNING true""")  # noqa: S608 constants only


class PostgresEndpoints:
    """Endpoints by id. `key` None: none is configured, so no secret opens."""

    def __init__(self, run: Run, key: bytes | None) -> None:
        self._run = run
        self._key = key

    async def opening(self, endpoint_id: str) -> Opening | None:
        """Raises SecretUnreadable, ViewsUnavailable."""
        rows = await self._run(_ENDPOINT, {"endpoint_id": endpoint_id})
        if not rows:
            return None
        business_id, mode, secret, old, until = rows[0]
        tenant = Tenant(business_id, mode)
        return Opening(
            tenant=tenant,
            secret=self._open(secret, endpoint_id, tenant),
            old=None if old is None else self._open(old, endpoint_id, tenant),
            old_until=0 if until is None else until.timestamp(),
        )

    def _open(self, wrapped: bytes, endpoint_id: str, tenant: Tenant) -> Webhook:
        if self._key is None:
            log.error("webhooks need WALLET_LEDGER_WEBHOOK_SECRET_KEY", endpoint=endpoint_id)
            raise SecretUnreadable(endpoint_id)
        try:
            return Webhook(unwrapped(self._key, wrapped, endpoint_id, tenant))
        except Unsealable as error:
            log.error("WALLET_LEDGER_WEBHOOK_SECRET_KEY does not open a secret", endpoint=endpoint_id)
            raise SecretUnreadable(endpoint_id) from error


class PostgresDeliveries:
    """Implements `door.Deliveries`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def taken(self, endpoint_id: str, delivery: bytes) -> bool:
        """See `door.Deliveries`."""
        return bool(await self._run(_TAKEN, {"endpoint_id": endpoint_id, "delivery": delivery}))

    async def note(self, endpoint_id: str, delivery: bytes) -> None:
        """See `door.Deliveries`."""
        await self._run(_NOTE, {"endpoint_id": endpoint_id, "delivery": delivery})
