"""The ledger's use of the key table: a data key before the first event that needs it, dead letters under a monthly key."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from events.codec import timestamp
from events.topics import COMMANDS
from services.coffin import month_owner, sealed
from services.keyring import KeyRing
from services.ledger.outcomes import DeadLetter
from services.ledger.ports import Clock


class DataKeys:
    """Implements `worker.Keys`: cached keys cost no thread switch."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keys")

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        cached = self._ring.cached(existing | registering)
        if len(cached) == len(existing | registering):
            return cached
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, self._ring.get_or_create, registering, existing)

    async def named(self, owner: UUID) -> bytes:
        """The key of something that is no customer."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._ring.get_or_create, {owner}
        )
        return found[owner]

    def forget(self) -> None:
        self._ring.forget()


class MonthlyCoffin:
    """Implements `worker.Coffin`: payloads sealed under the key of their month."""

    def __init__(self, keys: DataKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        now = timestamp(self._clock.micros())
        key = await self._keys.named(month_owner(now[:7]))
        return sealed(key, COMMANDS.name, *letter, now=now)
