"""`wallet-ledger webhooks …`: webhook endpoints as shown to operators."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from services.api.webhooks.endpoints import (
    Endpoint,
    create_endpoint,
    list_endpoints,
    revoke_endpoint,
    rotate_endpoint,
)
from services.console.mistakes import beside
from services.console.tables import say_aside, show_table, until
from services.keyring import parse_kek

COLUMNS = ("endpoint", "business", "mode", "name", "made", "old secret", "state")


def create(business: str, mode: str, name: str, *, as_json: bool) -> None:
    """Make an endpoint and print its secret, the only time that it is seen."""
    dsn, key = _dsn_and_key()
    _show_secret(*create_endpoint(dsn, key, business, mode, name), as_json=as_json)


def rotate(endpoint_id: str, overlap_hours: float, *, as_json: bool) -> None:
    """Print a second secret."""
    dsn, key = _dsn_and_key()
    rotated = rotate_endpoint(dsn, key, endpoint_id, timedelta(hours=overlap_hours))
    _show_secret(*rotated, as_json=as_json)


def show(business: str | None, *, as_json: bool) -> None:
    """Print all endpoints without their secrets."""
    endpoints = list_endpoints(_dsn(), business)
    if as_json:
        print(json.dumps([_fields(endpoint) for endpoint in endpoints]))
        return
    show_table(COLUMNS, map(_row, endpoints))


def revoke(endpoint_id: str, *, as_json: bool) -> None:
    """End an endpoint."""
    endpoint = revoke_endpoint(_dsn(), endpoint_id)
    print(json.dumps(_fields(endpoint)) if as_json else f"{endpoint.endpoint_id} is revoked")


def _row(endpoint: Endpoint) -> Sequence[str]:
    end = endpoint.old_secret_until
    old = until(end) if end is not None and end > datetime.now(UTC) else ""
    state = "live" if endpoint.revoked_at is None else "revoked"
    made = f"{endpoint.created_at:%Y-%m-%d %H:%M}"
    return (endpoint.endpoint_id, endpoint.business_id, endpoint.mode, endpoint.name, made, old, state)


def _show_secret(endpoint: Endpoint, made: str, *, as_json: bool) -> None:
    path = f"/webhooks/payments/{endpoint.endpoint_id}"
    if as_json:
        print(json.dumps({"secret": made, "path": path, **_fields(endpoint)}))
        return
    print(made)
    end = endpoint.old_secret_until
    old = f" The secret before lives {until(end)}." if end is not None else ""
    say_aside(
        f"POST {path}: {endpoint.name} of {endpoint.business_id}, {endpoint.mode} mode.{old} Shown once: keep it now."
    )


def _dsn() -> str:
    return beside("views_dsn").views_dsn.get_secret_value()


def _dsn_and_key() -> tuple[str, bytes]:
    settings = beside("views_dsn", "webhook_secret_key")
    return settings.views_dsn.get_secret_value(), parse_kek(settings.webhook_secret_key.get_secret_value())


def _fields(endpoint: Endpoint) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(endpoint)
    return fields
