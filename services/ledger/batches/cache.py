"""Committed states in memory, packed and bounded in bytes: a worker has as many customers as fit, not a number of them."""

from collections import OrderedDict
from uuid import UUID

from services.ledger.batches.snapshots import pack, unpack
from services.ledger.domain.states import State

CACHE_BYTES_MAX = 96 * 1024 * 1024
ENTRY_BYTES = 320
"""Of an entry besides its packed state: identifier, headers, its place in the table."""


class Cache:
    """The most recently used ones; what left is read from the store again."""

    def __init__(self) -> None:
        self._packed: OrderedDict[UUID, bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, stream: UUID) -> bool:
        return stream in self._packed

    @property
    def bytes(self) -> int:
        """At most `CACHE_BYTES_MAX`."""
        return self._bytes + ENTRY_BYTES * len(self._packed)

    def get(self, stream: UUID) -> State | None:
        packed = self._packed.get(stream)
        if packed is None:
            return None
        self._packed.move_to_end(stream)
        return unpack(packed)

    def put(self, stream: UUID, state: State) -> None:
        """As the one used last; those used longest ago make room."""
        packed = pack(state)
        self._bytes += len(packed) - len(self._packed.pop(stream, b""))
        self._packed[stream] = packed
        while self.bytes > CACHE_BYTES_MAX and len(self._packed) > 1:
            self._bytes -= len(self._packed.popitem(last=False)[1])
