"""`wallet-ledger keys …`: API keys as shown to operators."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from services.api.keys import KeyRecord, create_key, list_keys, revoke_key, rotate_key
from services.console.mistakes import beside
from services.console.tables import say_aside, show_table, until

COLUMNS = ("key", "secret", "business", "mode", "name", "may", "made", "state")


def create(
    business: str, mode: str, name: str, scopes: list[str], expires: datetime | None, *, as_json: bool
) -> None:
    """Make a key and print its secret, the only time that it is seen."""
    until = expires.replace(tzinfo=expires.tzinfo or UTC) if expires else None
    made = create_key(_dsn(), business, mode, name, [scope.strip() for scope in scopes], until)
    _show_secret(*made, as_json=as_json)


def rotate(key_id: str, overlap_hours: float, *, as_json: bool) -> None:
    """Print the secret of a second key."""
    _show_secret(*rotate_key(_dsn(), key_id, timedelta(hours=overlap_hours)), as_json=as_json)


def show(business: str | None, *, as_json: bool) -> None:
    """Print all keys without their secrets."""
    records = list_keys(_dsn(), business)
    if as_json:
        print(json.dumps([_fields(record) for record in records]))
        return
    show_table(COLUMNS, map(_row, records))


def revoke(key_id: str, *, as_json: bool) -> None:
    """End a key."""
    record = revoke_key(_dsn(), key_id)
    print(json.dumps(_fields(record)) if as_json else f"{record.key_id} is revoked")


def _show_secret(record: KeyRecord, secret: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"api_key": secret, **_fields(record)}))
        return
    print(secret)
    end = f", {until(record.expires_at)}" if record.expires_at else ""
    say_aside(
        f"{record.key_id}: {record.name} of {record.business_id}, {record.mode} mode, may "
        f"{', '.join(record.scopes)}{end}. Shown once: keep it now."
    )


def _dsn() -> str:
    return beside("views_dsn").views_dsn.get_secret_value()


def _fields(record: KeyRecord) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(record)
    return fields


def _row(record: KeyRecord) -> Sequence[str]:
    return (
        record.key_id, f"{record.prefix}…", record.business_id, record.mode, record.name,
        ",".join(record.scopes), f"{record.created_at:%Y-%m-%d %H:%M}", _state(record),
    )  # fmt: skip


def _state(record: KeyRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is None:
        return "live"
    return "expired" if record.expires_at <= datetime.now(UTC) else until(record.expires_at)
