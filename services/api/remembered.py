"""What a table says about who may come in, remembered for seconds: each answer would cost a statement otherwise."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

STALE_SECONDS = 2.0
"""From this age on an entry is read again in the background …"""

EXPIRED_SECONDS = 4.0
"""… and from this age on it is not used: with one statement's time on top, what was revoked works for at most 5 s."""

CACHED_MAX = 10_000

K = TypeVar("K")
V = TypeVar("V")


class Entry(Generic[V]):
    """What the table said, and when. None: nothing."""

    __slots__ = ("read_at", "value")

    def __init__(self) -> None:
        self.value: V | None = None
        self.read_at = monotonic()  # before it is asked: the answer may be this old


class Remembered(Generic[K, V]):
    """Bounded; what does not exist is remembered as well, or guessing would cost a statement each."""

    def __init__(self, lookup: Callable[[K], Awaitable[V | None]]) -> None:
        self._lookup = lookup
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._reading: dict[K, asyncio.Task[Entry[V]]] = {}

    async def get(self, key: K) -> V | None:
        """Raises what the lookup raises, where it is not known already."""
        entry = self._entries.get(key)
        age = monotonic() - entry.read_at if entry is not None else EXPIRED_SECONDS
        if entry is None or age >= EXPIRED_SECONDS:
            entry = await asyncio.shield(self._start_reading(key))
        elif age >= STALE_SECONDS:
            self._start_reading(key)
        return entry.value

    def known(self, key: K) -> bool:
        """Whether it was there when last asked for, however long ago."""
        entry = self._entries.get(key)
        return entry is not None and entry.value is not None

    def _start_reading(self, key: K) -> "asyncio.Task[Entry[V]]":
        task = self._reading.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(key))
            self._reading[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def _finished(self, key: K, task: "asyncio.Task[Entry[V]]") -> None:
        del self._reading[key]
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; a background reading is simply tried again

    async def _fetch(self, key: K) -> Entry[V]:
        entry: Entry[V] = Entry()
        entry.value = await self._lookup(key)
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > CACHED_MAX:
            self._entries.popitem(last=False)
        return entry
