"""Webhook endpoints as operators handle them: made, listed, rotated, revoked. A secret is shown once, stored wrapped."""

import base64
import re
import secrets
from datetime import datetime, timedelta

import msgspec
import psycopg
from psycopg.rows import class_row

from events.ids import Tenant
from events.sealing import new_key, unwrap_key, wrap_key
from services.api.keys import KeyRefused, check_tenant_and_name

OVERLAP = timedelta(hours=24)
"""How long an old secret lives beside the one that it was rotated to."""

SECRET_PREFIX = "whsec_"  # noqa: S105
ENDPOINT_ID = re.compile(r"whk_[0-9a-f]{20}")

_COLUMNS = "endpoint_id, business_id, mode, name, created_at, old_secret_until, revoked_at"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint without its secrets."""

    endpoint_id: str
    business_id: str
    mode: str
    name: str
    created_at: datetime
    old_secret_until: datetime | None
    revoked_at: datetime | None


def owner(endpoint_id: str, tenant: Tenant) -> str:
    """What a wrapped secret is bound to: in a row of another tenant it does not open."""
    return f"webhook|{tenant.business_id}|{tenant.mode}|{endpoint_id}"


def shown(secret: bytes) -> str:
    """A secret in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def unwrapped(key: bytes, wrapped: bytes, endpoint_id: str, tenant: Tenant) -> bytes:
    """Raises Unsealable: another key, another row."""
    return unwrap_key(key, wrapped, owner(endpoint_id, tenant))


def create_endpoint(dsn: str, key: bytes, business: str, mode: str, name: str) -> tuple[Endpoint, str]:
    """A new endpoint and its secret.

    Raises:
        KeyRefused: bad arguments.
    """
    check_tenant_and_name(business, mode, name)
    endpoint_id, secret = f"whk_{secrets.token_hex(10)}", new_key()
    wrapped = wrap_key(key, secret, owner(endpoint_id, Tenant(business, mode)))
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        made = cursor.execute(
            "INSERT INTO webhook_endpoints (endpoint_id, business_id, mode, name, secret) "  # noqa: S608 constants only
            f"VALUES (%s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
            [endpoint_id, business, mode, name, wrapped],
        ).fetchone()
    assert made is not None
    return made, shown(secret)


def list_endpoints(dsn: str, business: str | None = None) -> list[Endpoint]:
    """All of them, revoked ones too, newest first."""
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM webhook_endpoints "  # noqa: S608 constants only
            "WHERE (%(business)s::text IS NULL OR business_id = %(business)s) "
            "ORDER BY created_at DESC, endpoint_id",
            {"business": business},
        ).fetchall()


def rotate_endpoint(
    dsn: str, key: bytes, endpoint_id: str, overlap: timedelta = OVERLAP
) -> tuple[Endpoint, str]:
    """A new secret; the present one lives on for `overlap`, and an older one ends now.

    Raises:
        KeyRefused: no such live endpoint, or an older secret still lives and would be cut off.
    """
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        found = cursor.execute(
            f"SELECT {_COLUMNS} FROM webhook_endpoints "  # noqa: S608 constants only
            "WHERE endpoint_id = %s AND revoked_at IS NULL FOR UPDATE",
            [endpoint_id],
        ).fetchone()
        if found is None:
            raise KeyRefused("there is no such live endpoint")
        until = found.old_secret_until
        if overlap and until is not None and until > _now(connection):
            raise KeyRefused(
                f"two secrets are live until {until:%Y-%m-%d %H:%M %Z}: wait, or end both with an overlap of 0"
            )
        secret = new_key()
        wrapped = wrap_key(key, secret, owner(endpoint_id, Tenant(found.business_id, found.mode)))
        rotated = cursor.execute(
            "UPDATE webhook_endpoints SET old_secret = secret, old_secret_until = now() + %s, secret = %s "  # noqa: S608
            f"WHERE endpoint_id = %s RETURNING {_COLUMNS}",
            [overlap, wrapped, endpoint_id],
        ).fetchone()
    assert rotated is not None
    return rotated, shown(secret)


def revoke_endpoint(dsn: str, endpoint_id: str) -> Endpoint:
    """Every api process refuses it within 5 seconds. Repeating changes nothing.

    Raises:
        KeyRefused: there is no such endpoint.
    """
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        found = cursor.execute(
            "UPDATE webhook_endpoints SET revoked_at = coalesce(revoked_at, now()) "  # noqa: S608 constants only
            f"WHERE endpoint_id = %s RETURNING {_COLUMNS}",
            [endpoint_id],
        ).fetchone()
    if found is None:
        raise KeyRefused("there is no such endpoint")
    return found


def _now(connection: psycopg.Connection) -> datetime:
    """The database's, which also says until when."""
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now
