"""Data keys of customers: unwrapped in memory, wrapped in a database of their own."""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from events.sealing import KEY_BYTES, Unsealable, new_key, unwrap_key, wrap_key
from services.mistakes import Mistake
from services.sessions import KEEPALIVES
from services.settings import Settings

log = structlog.get_logger()

CACHED_MAX = 100_000
TRIED = 10
"""One alone may be damaged."""


def parse_kek(text: str) -> bytes:
    """The key-encryption key from its base64 form.

    Raises:
        ValueError: not 32 bytes of base64.
    """
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("the key-encryption key is 32 bytes in base64")
    return key


class WrongKek(Mistake):
    """None of the data keys that lie there unwraps."""


class NoKey(Exception):
    """A key that is needed is not to be had."""


class KeyRing:
    """One connection, one thread at a time. Owners are stream ids."""

    def __init__(self, dsn: str, kek: bytes) -> None:
        self._dsn = dsn
        self._kek = kek
        self._connection: psycopg.Connection | None = None
        self._cached: OrderedDict[UUID, bytes] = OrderedDict()
        self.damaged: set[UUID] = set()
        """Owners whose row does not unwrap: they are absent from answers, and stop nobody else."""

    def check(self) -> None:
        """Open a data key, so that a wrong key-encryption key is known before anything is done with it.

        Raises:
            WrongKek: with it every customer's would look damaged.
        """
        rows = self._run("SELECT owner, wrapped FROM data_keys WHERE wrapped IS NOT NULL LIMIT %s", [TRIED])
        for owner, wrapped in rows:
            with suppress(Unsealable):
                unwrap_key(self._kek, wrapped, str(owner))
                return
        if rows:
            raise WrongKek("WALLET_LEDGER_KEY_ENCRYPTION_KEY: it does not fit the data keys")

    def cached(self, owners: Iterable[UUID]) -> dict[UUID, bytes]:
        """Those that need no statement."""
        return {owner: key for owner in owners if (key := self._recall(owner)) is not None}

    def get(self, owners: Iterable[UUID]) -> dict[UUID, bytes]:
        """Keys of those owners that have one (one statement at most); erased and unknown ones are absent."""
        wanted = set(owners)
        found = self.cached(wanted)
        missing = [owner for owner in wanted if owner not in found]
        if missing:
            rows = self._run(
                "SELECT owner, wrapped FROM data_keys WHERE owner = ANY(%s) AND wrapped IS NOT NULL",
                [missing],
            )
            found |= self._unwrapped(rows)
        return found

    def get_or_create(self, owners: Iterable[UUID], existing: Iterable[UUID] = ()) -> dict[UUID, bytes]:
        """A key for each owner, written before it is used, and those that `existing` ones have. Three statements at most.

        Whose key was destroyed gets no second one and is absent.
        """
        wanted = set(owners)
        found = self.get(wanted | set(existing))
        missing = sorted(wanted - found.keys())
        if missing:
            wrapped = [wrap_key(self._kek, new_key(), str(owner)) for owner in missing]
            made = self._run(
                "INSERT INTO data_keys (owner, wrapped) SELECT * FROM unnest(%s::uuid[], %s::bytea[]) "
                "ON CONFLICT (owner) DO NOTHING RETURNING owner, wrapped",
                [missing, wrapped],
            )
            found |= self._unwrapped(made)
            if len(made) < len(missing):  # what lies there counts: another writer was first
                found |= self.get(missing)
        return found

    def living(self, owners: Iterable[UUID]) -> set[UUID]:
        """Those that have a key."""
        rows = self._run(
            "SELECT owner, NULL FROM data_keys WHERE owner = ANY(%s) AND wrapped IS NOT NULL",
            [sorted(set(owners))],
        )
        return {owner for owner, _ in rows}

    def destroy(self, owners: Iterable[UUID]) -> None:
        """No key any more, and none ever again: a mark stays. Safe to repeat."""
        gone = sorted(set(owners))
        self._run(
            "INSERT INTO data_keys AS old (owner, erased_at) SELECT owner, now() FROM unnest(%s::uuid[]) AS gone (owner) "
            "ON CONFLICT (owner) DO UPDATE SET wrapped = NULL, erased_at = now() WHERE old.wrapped IS NOT NULL "
            "RETURNING owner, NULL",
            [gone],
        )
        self.drop(gone)

    def drop(self, owners: Iterable[UUID]) -> None:
        """From memory: somebody destroyed these."""
        for owner in owners:
            self._cached.pop(owner, None)

    def unknown(self, owners: Iterable[UUID]) -> set[UUID]:
        """Owners with no row at all: there never was a key, or the table is older than they are."""
        wanted = set(owners)
        rows = self._run("SELECT owner, NULL FROM data_keys WHERE owner = ANY(%s)", [sorted(wanted)])
        return wanted - {owner for owner, _ in rows}

    def forget(self) -> None:
        """Drop the cache and the connection; the next call reads afresh."""
        self._cached.clear()
        self.damaged.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _recall(self, owner: UUID) -> bytes | None:
        key = self._cached.get(owner)
        if key is not None:
            self._cached.move_to_end(owner)
        return key

    def _unwrapped(self, rows: Iterable[tuple[UUID, bytes]]) -> dict[UUID, bytes]:
        found = {}
        for owner, wrapped in rows:
            try:
                found[owner] = self._cached[owner] = unwrap_key(self._kek, wrapped, str(owner))
            except Unsealable as error:
                self._note_damaged(owner, str(error))
        while len(self._cached) > CACHED_MAX:
            self._cached.popitem(last=False)
        return found

    def _note_damaged(self, owner: UUID, why: str) -> None:
        if owner not in self.damaged:
            log.error("data_key_damaged", owner=str(owner), why=why)
        if len(self.damaged) < CACHED_MAX:
            self.damaged.add(owner)

    def _run(self, statement: str, parameters: Sequence[object]) -> list[tuple[UUID, bytes]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn, autocommit=True, options="-c statement_timeout=5s", **KEEPALIVES
            )
        return self._connection.execute(statement, parameters).fetchall()


class DataKeys:
    """A key ring for an event loop, with a thread of its own: cached keys cost no switch."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keys")

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        cached = self._ring.cached(existing | registering)
        if len(cached) == len(existing | registering):
            return cached
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, self._ring.get_or_create, registering, existing)

    async def destroy(self, owners: set[UUID]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._ring.destroy, owners)

    async def named(self, owner: UUID, name: str) -> bytes:
        """The key of something that is no customer. Raises NoKey, which says `name` and why."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._ring.get_or_create, {owner}
        )
        if owner not in found:
            damaged = owner in self._ring.damaged
            why = "its row is damaged" if damaged else "it was destroyed, or this machine's clock is wrong"
            raise NoKey(f"the key of {name} cannot be had: {why}")
        return found[owner]

    def forget(self) -> None:
        self._ring.forget()


def key_ring(settings: Settings) -> KeyRing:
    """The one of these settings."""
    kek = parse_kek(settings.key_encryption_key.get_secret_value())
    return KeyRing(settings.keys_dsn.get_secret_value(), kek)


def check_keys(settings: Settings) -> None:
    """Raises WrongKek."""
    ring = key_ring(settings)
    ring.check()
    ring.forget()


def found_and_lost(ring: KeyRing, owners: set[UUID]) -> tuple[dict[UUID, bytes], dict[UUID, str]]:
    """Keys, and whose should be there and why it is not: all others were erased. One statement where each has one."""
    keys = ring.get(owners)
    keyless = owners - keys.keys()
    damaged = keyless & ring.damaged
    rest = keyless - damaged
    unknown = ring.unknown(rest) if rest else set()
    return keys, dict.fromkeys(damaged, "does not unwrap") | dict.fromkeys(unknown, "is missing")
