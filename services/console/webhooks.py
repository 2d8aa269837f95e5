"""`wallet-ledger webhooks …`: webhook endpoints as shown to operators."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
from rich.console import Console
from rich.table import Column, Table

from services.api.webhook_endpoints import (
    Endpoint,
    create_endpoint,
    list_endpoints,
    revoke_endpoint,
    rotate_endpoint,
)
from services.console.mistakes import beside
from services.keyring import parse_kek

COLUMNS = ("endpoint", "business", "mode", "name", "made", "old secret", "state")
WIDTH_MIN = 140


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
    table = Table(*(Column(name, no_wrap=True) for name in COLUMNS))
    for one in endpoints:
        until = one.old_secret_until
        old = f"until {until:%Y-%m-%d %H:%M}" if until is not None and until > datetime.now(UTC) else ""
        state = "live" if one.revoked_at is None else "revoked"
        made = f"{one.created_at:%Y-%m-%d %H:%M}"
        table.add_row(one.endpoint_id, one.business_id, one.mode, one.name, made, old, state)
    Console(width=max(Console().width, WIDTH_MIN), markup=False, emoji=False).print(table)


def revoke(endpoint_id: str, *, as_json: bool) -> None:
    """End an endpoint."""
    endpoint = revoke_endpoint(_dsn(), endpoint_id)
    print(json.dumps(_fields(endpoint)) if as_json else f"{endpoint.endpoint_id} is revoked")


def _show_secret(endpoint: Endpoint, made: str, *, as_json: bool) -> None:
    path = f"/webhooks/payments/{endpoint.endpoint_id}"
    if as_json:
        print(json.dumps({"secret": made, "path": path, **_fields(endpoint)}))
        return
    print(made)
    until = endpoint.old_secret_until
    old = f" The secret before lives until {until:%Y-%m-%d %H:%M %Z}." if until is not None else ""
    Console(stderr=True, markup=False, emoji=False).print(
        f"POST {path}: {endpoint.name} of {endpoint.business_id}, {endpoint.mode} mode.{old} Shown once: keep it now.",
        soft_wrap=True,
    )


def _dsn() -> str:
    return beside("views_dsn").views_dsn.get_secret_value()


def _dsn_and_key() -> tuple[str, bytes]:
    settings = beside("views_dsn", "webhook_secret_key")
    return settings.views_dsn.get_secret_value(), parse_kek(settings.webhook_secret_key.get_secret_value())


def _fields(endpoint: Endpoint) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(endpoint)
    return fields
