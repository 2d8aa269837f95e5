"""Data keys without a key table, and dead letters that can be read."""

from uuid import UUID

from events.sealing import new_key
from services.ledger.outcomes import DeadLetter
from tests.fakes.gate import Gate


class MemoryKeys:
    """Implements `worker.Keys`; `table` is what a key database would hold."""

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
        return {stream: self.table[stream] for stream in existing | registering if stream in self.table}

    def forget(self) -> None:
        """Nothing is cached."""


class GlassCoffin:
    """Implements `worker.Coffin` without a seal: key `<shard>/<offset> <code>`, value as found."""

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        return f"{letter.shard}/{letter.offset} {letter.code}".encode(), letter.value
