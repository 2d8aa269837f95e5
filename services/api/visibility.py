"""How far the read models are, as this process knows: one LISTEN connection, and a look each 100 ms as fallback."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

import psycopg
import structlog
from psycopg import AsyncConnection

from events.ids import parse_position
from services.api import metrics
from services.api.ports import ViewsUnavailable
from services.sessions import CHANNEL, KEEPALIVES

log = structlog.get_logger()

_POLL_SECONDS = 0.1
_BACK_OFF_SECONDS = 0.5

ReadCheckpoints = Callable[[], Awaitable[list[tuple[int, int]]]]
Waiter = tuple[int, "asyncio.Future[bool]"]


class PostgresVisibility:
    """Implements `ports.Visibility`."""

    def __init__(self, dsn: str, shards: int, checkpoints: ReadCheckpoints) -> None:
        self._dsn = dsn
        self._checkpoints = checkpoints
        self._reached = [0] * shards
        self._waiting: list[list[Waiter]] = [[] for _ in range(shards)]
        self._expected: dict[int, tuple[int, float]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._note(await self._checkpoints())
        loop = asyncio.get_running_loop()
        self._listener = loop.create_task(self._listen())

    async def stop(self) -> None:
        tasks = [task for task in (self._listener, self._poller) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait(self, shard: int, sequence: int, seconds: float) -> bool:
        """See `ports.Visibility`."""
        if self._reached[shard] >= sequence:
            return True
        if seconds <= 0:
            return False
        started = monotonic()
        loop = asyncio.get_running_loop()
        waiter: Waiter = (sequence, loop.create_future())
        self._waiting[shard].append(waiter)
        timer = loop.call_later(seconds, _resolve, waiter[1], False)
        self._poll_while_waiting()
        try:
            visible = await waiter[1]
        finally:
            timer.cancel()
            self._waiting[shard] = [other for other in self._waiting[shard] if other is not waiter]
        if visible:
            metrics.VISIBILITY_SECONDS.observe(monotonic() - started)
        else:
            metrics.VISIBILITY_MISSED.inc()
        return visible

    async def confirm(self, at_least: Mapping[int, int]) -> bool:
        """See `ports.Visibility`. Where the tables are older than was heard, all that was heard is forgotten."""
        found = await self._checkpoints()
        has = dict(found)
        if all(has.get(shard, 0) >= sequence for shard, sequence in at_least.items()):
            return True
        log.error("read models are older than they said", positions=dict(at_least))
        self._forget()
        self._note(found)
        return False

    def reached(self) -> list[int]:
        """See `ports.Visibility`: what was said at the commits, so never ahead of the tables."""
        return self._reached

    def lag_seconds(self) -> float:
        """Since when the read models owe a position that an answer named; 0: nothing."""
        owed = [
            since for shard, (sequence, since) in self._expected.items() if self._reached[shard] < sequence
        ]
        return monotonic() - min(owed) if owed else 0.0

    def owe(self, shard: int, sequence: int) -> None:
        """See `ports.Visibility`."""
        expected = self._expected.get(shard)
        if expected is None or self._reached[shard] >= expected[0]:
            self._expected[shard] = (sequence, monotonic())

    def _note(self, reached: list[tuple[int, int]]) -> None:
        for shard, sequence in reached:
            if not 0 <= shard < len(self._reached) or sequence <= self._reached[shard]:
                continue
            self._reached[shard] = sequence
            for wanted, waiter in self._waiting[shard]:
                if wanted <= sequence:
                    _resolve(waiter, True)

    def _forget(self) -> None:
        """The server may have crashed, and read models commit asynchronously: it comes back older than it was."""
        self._reached = [0] * len(self._reached)
        now = monotonic()
        self._expected = {shard: (sequence, now) for shard, (sequence, _) in self._expected.items()}

    async def _listen(self) -> None:
        """For ever. What was said while there was no connection, the first look says again."""
        while True:
            try:
                async with await AsyncConnection.connect(
                    self._dsn, autocommit=True, **KEEPALIVES
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._note(await self._checkpoints())
                    async for notify in connection.notifies():
                        self._note(_positions(notify.payload))
            except (psycopg.Error, ViewsUnavailable) as error:
                log.warning("no notifications of positions", error=type(error).__name__)
            self._forget()
            await asyncio.sleep(_BACK_OFF_SECONDS)

    def _poll_while_waiting(self) -> None:
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        """A lost notification costs 100 ms, not the whole wait; nobody waiting, nothing asked."""
        while True:
            before = {id(waiter) for waiters in self._waiting for _, waiter in waiters}
            await asyncio.sleep(_POLL_SECONDS)
            now = {id(waiter) for waiters in self._waiting for _, waiter in waiters}
            if not now:
                return
            if before & now:
                try:
                    self._note(await self._checkpoints())
                except ViewsUnavailable as error:
                    log.warning("checkpoints cannot be read", error=str(error))


def _resolve(waiter: "asyncio.Future[bool]", visible: bool) -> None:
    if not waiter.done():
        waiter.set_result(visible)


def _positions(payload: str) -> list[tuple[int, int]]:
    """What a notification says; parts that are no positions say nothing."""
    found = []
    for part in payload.split():
        try:
            found.append(parse_position(part))
        except ValueError:
            log.warning("a notification that is no position")
    return found
