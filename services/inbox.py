"""Between the agent that receives and the one thread that writes: bounded, so that a slow database slows the fetch."""

import asyncio
from collections import deque
from collections.abc import Sequence

from services.reading import Record

RECORDS_MAX = 4_000
BYTES_MAX = 8 * 1024 * 1024
BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 2 * 1024 * 1024


class Inbox:
    """One event loop. Nobody waits for company: a batch is whatever has arrived when the last one was written."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, records: Sequence[Record]) -> None:
        """Waits while the inbox is full; then all of them are taken in, so that it holds one bundle more at most."""
        await self._room.wait()
        self._records.extend(records)
        self._bytes += sum(len(record.value) for record in records)
        self._filled.set()
        if self._is_full():
            self._room.clear()

    async def take(self) -> list[Record]:
        """At least one record, in order of arrival; waits for the first only."""
        await self._filled.wait()
        batch: list[Record] = []
        size = 0
        while self._records and len(batch) < BATCH_RECORDS_MAX and size < BATCH_BYTES_MAX:
            record = self._records.popleft()
            batch.append(record)
            size += len(record.value)
        self._bytes -= size
        if not self._is_full():
            self._room.set()
        if not self._records:
            self._filled.clear()
        return batch

    def _is_full(self) -> bool:
        return len(self._records) >= RECORDS_MAX or self._bytes >= BYTES_MAX
