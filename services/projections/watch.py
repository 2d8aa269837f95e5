"""How the projections are doing: lag, readiness, heartbeat."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from faust.exceptions import ConsumerNotStarted

from services.ends import Ends
from services.faust_process import FaustWatch
from services.projections import metrics
from services.projections.lag import Lag
from services.projections.writer import Writer
from services.receiving import CheckpointApp

READY_LAG_SECONDS_MAX = 5.0
READY_LAG_RECORDS_MAX = 10_000


class Watch(FaustWatch):
    """A process without shards ends, too: each has its share."""

    no_progress_seconds_max = 30.0

    def __init__(self, app: CheckpointApp, writer: Writer, lag: Lag, instance: str, ends: Ends) -> None:
        super().__init__(app, ends)
        self._writer = writer
        self._lag = lag
        self._instance = instance
        self._beating: asyncio.Task[None] | None = None

    def problems(self) -> dict[str, str]:
        """What is not ready, by component."""
        found = super().problems()
        if self._writer.trouble is not None:
            found["database"] = self._writer.trouble
        if halted := self._writer.halted():
            found["chain"] = f"broken, needs an operator: shards {sorted(halted)} (table chain_breaks)"
        return found

    async def watch_forever(self) -> None:
        """Raises Hangs, and what the writer raises."""
        try:
            await super().watch_forever()
        finally:
            if self._beating is not None:
                self._beating.cancel()

    def assigned(self) -> set[int]:
        """The shards that this process has to project."""
        with suppress(ConsumerNotStarted):
            return self._app.received()
        return set()

    async def _look(self) -> dict[str, str]:
        shards = self.assigned()
        metrics.SHARDS.set(len(shards))
        found = await super()._look()
        if shards:
            self._beat()
        return found

    def _beat(self) -> None:
        """Not awaited: where the writer is stuck, somebody has to see it. Raises what the last beat raised."""
        if self._beating is not None:
            if not self._beating.done():
                return
            self._beating.result()
        self._beating = asyncio.ensure_future(self._writer.heartbeat(self._instance))

    def _judge(self, now: float, partitions: Collection[int], ends: Mapping[int, int]) -> dict[str, str]:
        if not partitions:
            return {"assignment": "no shard is assigned"}
        silent = set(partitions) - ends.keys()
        self._lag.observe(now, ends, silent)
        behind = self._lag.records(without=self._writer.halted() | silent)  # theirs is no missing progress
        idle = not behind and (self._beating is None or self._beating.done())
        self._since = now if idle else max(self._since, self._writer.last_progress)
        return self._lagging(behind, self._lag.seconds(now))

    def _lagging(self, behind: dict[int, int], seconds: float) -> dict[str, str]:
        metrics.LAG_EVENTS.set(sum(behind.values()))
        metrics.LAG_EVENTS_MAX.set(max(behind.values(), default=0))
        metrics.LAG_SECONDS.set(seconds)
        if seconds > READY_LAG_SECONDS_MAX or sum(behind.values()) > READY_LAG_RECORDS_MAX:
            return {"lag": f"{sum(behind.values())} events behind, for {seconds:.0f} s"}
        return {}
