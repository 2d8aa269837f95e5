"""Who calls: API keys, looked up in the database and remembered for seconds."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from time import monotonic, time
from typing import NamedTuple

from events.ids import Tenant
from services.api.errors import ApiError, unauthorized, unavailable
from services.api.keys import Scope, secret_hash
from services.api.ports import ViewsUnavailable

STALE_SECONDS = 2.0
"""From this age on an entry is read again in the background …"""

EXPIRED_SECONDS = 4.0
"""… and from this age on it is not used: with one statement's time on top, a revoked key works for at most 5 s."""

CACHED_MAX = 10_000
_SECRET_BYTES_MAX = 200


class Caller(NamedTuple):
    """A live key. `scopes` are those of the key; `expires` in seconds since 1970."""

    key_id: str
    tenant: Tenant
    scopes: frozenset[str]
    expires: float


Lookup = Callable[[bytes], Awaitable[Caller | None]]


class Entry:
    """What the database said about a hash, and when. `caller` None: no such live key."""

    __slots__ = ("caller", "read_at")

    def __init__(self, caller: Caller | None) -> None:
        self.caller = caller
        self.read_at = monotonic()


class Authenticator:
    """Bounded; unknown keys are remembered as well, or guessing would cost a statement each."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._reading: dict[bytes, asyncio.Task[Entry]] = {}

    async def caller(self, authorization: bytes | None, scope: Scope) -> Caller:
        """The key of a request that needs `scope`.

        Raises:
            ApiError: 401 without a live key of that scope, 503 while it cannot be looked up.
        """
        digest = secret_hash(_bearer(authorization))
        entry = self._entries.get(digest)
        age = monotonic() - entry.read_at if entry is not None else EXPIRED_SECONDS
        if entry is None or age >= EXPIRED_SECONDS:
            entry = await self._read(digest)
        elif age >= STALE_SECONDS:
            self._start_reading(digest)
        caller = entry.caller
        if caller is None or caller.expires <= time():
            raise unauthorized("The API key is unknown, expired or revoked")
        if scope not in caller.scopes:
            raise unauthorized(f"The API key has no scope {scope}")
        return caller

    async def _read(self, digest: bytes) -> Entry:
        try:
            return await asyncio.shield(self._start_reading(digest))
        except ViewsUnavailable as error:
            raise _cannot_look_up() from error

    def _start_reading(self, digest: bytes) -> "asyncio.Task[Entry]":
        task = self._reading.get(digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(digest))
            self._reading[digest] = task
            task.add_done_callback(lambda done: self._finished(digest, done))
        return task

    def _finished(self, digest: bytes, task: "asyncio.Task[Entry]") -> None:
        del self._reading[digest]
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; a background reading is simply tried again

    async def _fetch(self, digest: bytes) -> Entry:
        entry = Entry(None)
        entry.caller = await self._lookup(digest)
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        if len(self._entries) > CACHED_MAX:
            self._entries.popitem(last=False)
        return entry


def _bearer(authorization: bytes | None) -> str:
    if authorization is None:
        raise unauthorized("Send the API key as Authorization: Bearer …")
    scheme, _, secret = authorization.partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret or len(secret) > _SECRET_BYTES_MAX or not secret.isascii():
        raise unauthorized("Send the API key as Authorization: Bearer …")
    return secret.decode("ascii")


def _cannot_look_up() -> ApiError:
    return unavailable("API keys cannot be looked up at the moment")


def to_caller(row: tuple[str, str, str, list[str], datetime | None]) -> Caller:
    """A row of `api_keys` as the cache keeps it."""
    key_id, business_id, mode, scopes, expires_at = row
    expires = expires_at.timestamp() if expires_at is not None else float("inf")
    return Caller(key_id, Tenant(business_id, mode), frozenset(scopes), expires)
