"""From the inbox into the database: one thread, one transaction at a time, the next one as soon as the last is done."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

import psycopg
import structlog

from services.inbox import Inbox
from services.pace import Pace
from services.projections import metrics
from services.projections.applying import Applied
from services.projections.lag import Lag
from services.projections.projector import Projector
from services.reading import Record

DATABASE_PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.2
PACE_SECONDS = 0.008
"""A transaction costs about the same for one event as for ten."""

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")


class Writer:
    """Owns the projector and its thread. A lost database is waited for, then it is an error."""

    def __init__(self, projector: Projector, inbox: Inbox, lag: Lag) -> None:
        self._projector = projector
        self._inbox = inbox
        self._lag = lag
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projector")
        self._pace = Pace(PACE_SECONDS)
        self.trouble: str | None = None
        self.last_progress = time.monotonic()
        projector.progressed = self._progressed

    def halted(self) -> set[int]:
        """Shards that wait for an operator."""
        return set(self._projector.breaks.halted)

    async def next_offsets(self) -> dict[int, int]:
        """Where each shard has to be read from, by the checkpoints as they are now."""
        seen = await self._patiently(Projector.load)
        offsets = {shard: checkpoint.next_offset for shard, checkpoint in seen.items()}
        self._lag.restart(offsets)
        return offsets

    async def heartbeat(self, instance: str) -> None:
        """Say that this projector works: through the same thread, so that a stuck one says nothing."""
        await self._patiently(Projector.beat, instance)

    async def write_forever(self) -> None:
        """Raises what `Projector.apply` does, once patience is at its end."""
        while True:
            await self._pace.turn()
            batch = await self._inbox.take()
            metrics.RECORDS.inc(len(batch))
            began = time.perf_counter()
            applied = await self._patiently(Projector.apply, batch)
            self._measure(batch, applied, time.perf_counter() - began)

    async def close(self, instance: str) -> None:
        """After the running transaction. The heartbeat goes too, so that nobody waits for us."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._projector.close, instance)
        self._thread.shutdown(wait=False)

    async def _patiently(
        self, act: Callable[Concatenate[Projector, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        loop = asyncio.get_running_loop()
        give_up = time.monotonic() + DATABASE_PATIENCE_SECONDS
        while True:
            try:
                done = await loop.run_in_executor(self._thread, lambda: act(self._projector, *args, **kwargs))
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self.trouble = f"no database: {type(error).__name__}"
                log.warning("the database does not answer", error=type(error).__name__)
                await loop.run_in_executor(self._thread, self._projector.reset)
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.trouble = None
                return done

    def _progressed(self) -> None:
        self.last_progress = time.monotonic()

    def _measure(self, batch: list[Record], applied: Applied, seconds: float) -> None:
        self._lag.applied(
            {record.shard: record.offset + 1 for record in batch if record.shard not in self.halted()}
        )
        self._progressed()
        metrics.BREAKS.set(len(self._projector.breaks.known))
        metrics.HALTED.set(len(self._projector.breaks.halted))
        metrics.TRANSACTION.observe(seconds)
        metrics.LAST_PROGRESS.set_to_current_time()
        if applied.events:
            metrics.EVENTS.inc(applied.events)
            metrics.BATCH.observe(applied.events)
            newest = datetime.fromisoformat(max(applied.newest.values()))
            metrics.VISIBLE.observe(max(0.0, (datetime.now(UTC) - newest).total_seconds()))
