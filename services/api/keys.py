"""API keys as operators handle them: made, listed, rotated, revoked. The secret is shown once and stored as a hash."""

import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec
import psycopg
from psycopg.rows import class_row

from events.ids import Tenant
from services.mistakes import ExitCode, Mistake

LIVE_MAX = 2
"""Of one name: the one in use and the one it is rotated to."""

_SECRET_BYTES = 32
_SHOWN = 4
_NAME = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,63}")
_BUSINESS = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_COLUMNS = "key_id, business_id, mode, name, prefix, scopes, created_at, expires_at, revoked_at"
_LIVE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"


class Scope(StrEnum):
    """What a key may do; none implies another."""

    READ = "read"
    WRITE = "write"
    REFUND = "refund"
    ADMIN = "admin"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    key_id: str
    business_id: str
    mode: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.business_id, self.mode)


class KeyRefused(Mistake):
    """What an operator asked for cannot be done; the text says why."""

    exit_code = ExitCode.REFUSED


def secret_hash(secret: str) -> bytes:
    """256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def create_key(
    dsn: str,
    business: str,
    mode: str,
    name: str,
    scopes: Collection[str] = (Scope.READ, Scope.WRITE),
    expires: datetime | None = None,
) -> tuple[KeyRecord, str]:
    """A new key and its secret.

    Raises:
        KeyRefused: bad arguments, or two keys of this name live already.
    """
    _check(business, mode, name, scopes, expires)
    with psycopg.connect(dsn) as connection:
        return _insert(connection, Tenant(business, mode), name, scopes, expires)


def list_keys(dsn: str, business: str | None = None) -> list[KeyRecord]:
    """All keys, dead ones too, newest first."""
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(KeyRecord)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM api_keys "  # noqa: S608 constants only
            "WHERE (%(business)s::text IS NULL OR business_id = %(business)s) ORDER BY created_at DESC, key_id",
            {"business": business},
        ).fetchall()


def revoke_key(dsn: str, key_id: str) -> KeyRecord:
    """Every api process refuses it within 5 seconds. Repeating changes nothing.

    Raises:
        KeyRefused: there is no such key.
    """
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(KeyRecord)) as cursor:
        found = cursor.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) "  # noqa: S608 constants only
            f"WHERE key_id = %s RETURNING {_COLUMNS}",
            [key_id],
        ).fetchone()
    if found is None:
        raise KeyRefused("there is no such key")
    return found


def rotate_key(dsn: str, key_id: str, overlap: timedelta = timedelta(hours=24)) -> tuple[KeyRecord, str]:
    """A second key of the same name, rights and expiry; the old one ends after `overlap`.

    Raises:
        KeyRefused: no such live key, or its name has two live keys already, or its end may be that of a rotation.
    """
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(KeyRecord)) as cursor:
        old = cursor.execute(
            f"SELECT {_COLUMNS} FROM api_keys WHERE key_id = %s AND {_LIVE}",  # noqa: S608 constants only
            [key_id],
        ).fetchone()
        if old is None:
            raise KeyRefused("there is no such live key")
        if old.expires_at is not None and _has_younger(connection, old):
            raise KeyRefused(
                "a younger key has its name, so it may end because it was rotated already: make a new one"
            )
        made = _insert(connection, old.tenant, old.name, old.scopes, old.expires_at)
        cursor.execute(
            "UPDATE api_keys SET expires_at = least(coalesce(expires_at, 'infinity'), now() + %s) WHERE key_id = %s",
            [overlap, key_id],
        )
    return made


def _has_younger(connection: psycopg.Connection, key: KeyRecord) -> bool:
    """Whether there is a key of its name, dead or alive, that a rotation of it may have made."""
    younger = connection.execute(
        "SELECT FROM api_keys WHERE business_id = %s AND mode = %s AND name = %s AND created_at > %s LIMIT 1",
        [key.business_id, key.mode, key.name, key.created_at],
    )
    return younger.fetchone() is not None


def check_tenant_and_name(business: str, mode: str, name: str) -> None:
    """Raises KeyRefused."""
    if not _BUSINESS.fullmatch(business):
        raise KeyRefused("a business id has 1 to 128 characters of A-Z a-z 0-9 _ . : -")
    if mode not in ("live", "test"):
        raise KeyRefused("the mode is live or test")
    if not _NAME.fullmatch(name):
        raise KeyRefused("a name has 1 to 64 printable ASCII characters")


def _check(business: str, mode: str, name: str, scopes: Collection[str], expires: datetime | None) -> None:
    check_tenant_and_name(business, mode, name)
    if not scopes or not set(scopes) <= set(Scope):
        raise KeyRefused(f"scopes are some of {', '.join(Scope)}")
    if expires is not None and (expires.tzinfo is None or expires <= datetime.now(UTC)):
        raise KeyRefused("the expiry is a moment in the future, with its time zone")


def _insert(
    connection: psycopg.Connection,
    tenant: Tenant,
    name: str,
    scopes: Collection[str],
    expires: datetime | None,
) -> tuple[KeyRecord, str]:
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"api_keys|{tenant}|{name}"])
    live = connection.execute(
        f"SELECT count(*) FROM api_keys WHERE business_id = %s AND mode = %s AND name = %s AND {_LIVE}",  # noqa: S608
        [tenant.business_id, tenant.mode, name],
    ).fetchone()
    assert live is not None
    if live[0] >= LIVE_MAX:
        raise KeyRefused(f"{LIVE_MAX} keys of this name are live: revoke one first")
    random = secrets.token_urlsafe(_SECRET_BYTES)
    prefix = f"wl_{tenant.mode}_{random[:_SHOWN]}"
    secret = f"wl_{tenant.mode}_{random}"
    with connection.cursor(row_factory=class_row(KeyRecord)) as cursor:
        made = cursor.execute(
            "INSERT INTO api_keys (key_id, business_id, mode, name, prefix, hash, scopes, expires_at) "  # noqa: S608
            f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}",
            [
                f"key_{secrets.token_hex(10)}",
                tenant.business_id,
                tenant.mode,
                name,
                prefix,
                secret_hash(secret),
                sorted(set(scopes)),
                expires,
            ],
        ).fetchone()
    assert made is not None
    return made, secret
