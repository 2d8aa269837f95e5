"""Who calls: API keys, looked up in the database and remembered for seconds."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from time import time
from typing import NamedTuple

from events.ids import Tenant
from services.api.call import Call
from services.api.errors import unauthorized, unavailable
from services.api.keys import Scope, secret_hash
from services.api.limits import Limits
from services.api.ports import ViewsUnavailable
from services.api.remembered import Remembered

_SECRET_BYTES_MAX = 200


class Caller(NamedTuple):
    """A live key. `scopes` are those of the key; `expires` in seconds since 1970."""

    key_id: str
    tenant: Tenant
    scopes: frozenset[str]
    expires: float


Lookup = Callable[[bytes], Awaitable[Caller | None]]


class Authenticator:
    """Keys by the hash of their secret."""

    def __init__(self, lookup: Lookup, limits: Limits) -> None:
        self._callers = Remembered(lookup)
        self._limits = limits

    async def caller(self, call: Call, scope: Scope) -> Caller:
        """The key of a request that needs `scope`.

        Raises:
            ApiError: 401 without a live key of that scope, 429, 503 while it cannot be looked up.
        """
        secret = _bearer(call.headers.get(b"authorization"))
        digest = secret_hash(secret) if secret is not None else b""
        if not self._callers.known(digest):
            self._limits.admit(call)
        if secret is None:
            self._limits.refused(call)
            raise unauthorized("Send the API key as Authorization: Bearer …")
        caller = await self._live(call, digest)
        self._limits.key(call, caller.key_id)
        if scope not in caller.scopes:
            raise unauthorized(f"The API key has no scope {scope}")
        call.again = partial(self._live, call, digest)
        return caller

    async def _live(self, call: Call, digest: bytes) -> Caller:
        try:
            caller = await self._callers.get(digest)
        except ViewsUnavailable as error:
            raise unavailable("API keys cannot be looked up at the moment") from error
        if caller is None or caller.expires <= time():
            self._limits.refused(call)
            raise unauthorized("The API key is unknown, expired or revoked")
        return caller


def _bearer(authorization: bytes | None) -> str | None:
    """None: there is none that could be one."""
    scheme, _, secret = (authorization or b"").partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret or len(secret) > _SECRET_BYTES_MAX or not secret.isascii():
        return None
    return secret.decode("ascii")


def to_caller(row: tuple[str, str, str, list[str], datetime | None]) -> Caller:
    """A row of `api_keys` as the cache keeps it."""
    key_id, business_id, mode, scopes, expires_at = row
    expires = expires_at.timestamp() if expires_at is not None else float("inf")
    return Caller(key_id, Tenant(business_id, mode), frozenset(scopes), expires)
