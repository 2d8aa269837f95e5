"""Data keys without a key table, and dead letters that can be read."""

from uuid import UUID

from events.sealing import new_key
from services.coffin import DeadLetter
from services.keyring import NoKey
from tests.fakes.gate import Gate


class MemoryKeys:
    """Implements `world.Keys`; `table` is what a key database would hold, b"" where a key was destroyed."""

    def __init__(self, table: dict[UUID, bytes], gate: Gate | None = None) -> None:
        self.table = table
        self._gate = gate

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        if self._gate is not None and registering:  # others are cached
            await self._gate.before("data_keys")
        for stream in sorted(registering - self.table.keys()):
            self.table[stream] = new_key()
        if self._gate is not None and registering:
            await self._gate.after("data_keys")
        return {stream: self.table[stream] for stream in existing | registering if self.table.get(stream)}

    async def destroy(self, owners: set[UUID]) -> None:
        if self._gate is not None:
            await self._gate.before("destroy_keys")
        self.table.update(dict.fromkeys(owners, b""))
        if self._gate is not None:
            await self._gate.after("destroy_keys")

    def forget(self) -> None:
        """Nothing is cached."""


class GlassCoffin:
    """Implements `world.Coffin` without a seal: key `<shard>/<offset> <code>`, value as found.

    `keyless`: why the key of this month cannot be had.
    """

    keyless = ""

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        if self.keyless:
            raise NoKey(self.keyless)
        return f"{letter.shard}/{letter.offset} {letter.code}".encode(), letter.value
