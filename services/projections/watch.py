"""How the process is doing, each second: lag, readiness, heartbeat; and its end when it hangs."""

import asyncio
import time

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from events.topics import EVENTS
from services.kafka import Reached
from services.projections import metrics
from services.projections.lag import Lag
from services.projections.writer import Writer
from services.receiving import CheckpointApp

WATCH_SECONDS = 1.0
STARTING_SECONDS = 0.1
ENDS_SECONDS_MAX = 5.0
NO_PROGRESS_SECONDS_MAX = 30.0
READY_LAG_SECONDS_MAX = 5.0
READY_LAG_RECORDS_MAX = 10_000

log = structlog.get_logger()


class Hangs(Exception):
    """There is work and none is done: Faust is known to stop fetching. Only a new process helps."""


class Watch:
    """Looks from outside: it asks Kafka for the topic's ends, for a deaf consumer does not know them."""

    def __init__(self, app: CheckpointApp, writer: Writer, lag: Lag, instance: str, reached: Reached) -> None:
        self._app = app
        self._reached = reached
        self._writer = writer
        self._lag = lag
        self._instance = instance
        self._problems = {"assignment": "no shard is assigned yet"}
        self._since = time.monotonic()
        """When all was well last, as far as consumer and writer are concerned."""
        self._beating: asyncio.Task[None] | None = None

    def problems(self) -> dict[str, str]:
        """What is not ready, by component."""
        found = dict(self._problems)
        if self._writer.trouble is not None:
            found["database"] = self._writer.trouble
        if halted := self._writer.halted():
            found["chain"] = f"broken, needs an operator: shards {sorted(halted)} (table chain_breaks)"
        return found

    async def watch_forever(self) -> None:
        """Raises Hangs, and what the writer raises."""
        try:
            await self._watch()
        finally:
            if self._beating is not None:
                self._beating.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(STARTING_SECONDS if "assignment" in self._problems else WATCH_SECONDS)
            if self._app.crashed:
                raise Hangs(f"Faust crashed: {type(self._app.crash_reason).__name__}")
            shards = self.assigned()
            metrics.SHARDS.set(len(shards))
            self._problems = await self._look(shards)
            if shards:
                self._beat()
            if time.monotonic() - self._since > NO_PROGRESS_SECONDS_MAX:
                raise Hangs(f"no progress for {NO_PROGRESS_SECONDS_MAX:.0f} s: {self._problems or 'behind'}")

    def _beat(self) -> None:
        """Not awaited: where the writer is stuck, somebody has to see it. Raises what the last beat raised."""
        if self._beating is not None:
            if not self._beating.done():
                return
            self._beating.result()
        self._beating = asyncio.ensure_future(self._writer.heartbeat(self._instance))

    def assigned(self) -> set[int]:
        """The shards that this process has to project."""
        try:
            return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == EVENTS.name}
        except ConsumerNotStarted:
            return set()

    async def _look(self, shards: set[int]) -> dict[str, str]:
        """One round: the problems it finds; moves `_since` where there is no reason to worry."""
        if not shards:
            return {"assignment": "no shard is assigned"}
        tps = [TP(EVENTS.name, shard) for shard in shards]
        now = time.monotonic()
        try:
            async with asyncio.timeout(ENDS_SECONDS_MAX):
                ends = await self._app.consumer.highwaters(*tps)
        except (KafkaError, TimeoutError, ConsumerNotStarted) as error:
            if not await self._reached():
                self._since = time.monotonic()  # without Kafka there is no progress to miss
            return {"kafka": f"no answer: {type(error).__name__}"}
        self._lag.observe(now, {tp.partition: end for tp, end in ends.items()})
        behind = self._lag.records(without=self._writer.halted())
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
