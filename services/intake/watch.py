"""How intake is doing, each second; and its end when it hangs: Faust is known to stop fetching."""

import asyncio
import time

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from events.topics import PAYMENTS
from services.intake.taking import Taking
from services.kafka import Reached
from services.receiving import CheckpointApp

WATCH_SECONDS = 1.0
STARTING_SECONDS = 0.1
ENDS_SECONDS_MAX = 5.0
NOT_READY_SECONDS = 10.0
NO_PROGRESS_SECONDS_MAX = 60.0


class Hangs(Exception):
    """There is work and none is done. Only a new process helps."""


class Watch:
    """Asks Kafka for the topic's ends: a deaf consumer does not know them."""

    def __init__(self, app: CheckpointApp, taking: Taking, reached: Reached) -> None:
        self._app = app
        self._reached = reached
        self._taking = taking
        self._problems = {"assignment": "no partition is assigned yet"}
        self._since = time.monotonic()

    def problems(self) -> dict[str, str]:
        """What is not ready, by component."""
        return dict(self._problems)

    async def watch_forever(self) -> None:
        """Raises Hangs."""
        while True:
            await asyncio.sleep(STARTING_SECONDS if "assignment" in self._problems else WATCH_SECONDS)
            if self._app.crashed:
                raise Hangs(f"Faust crashed: {type(self._app.crash_reason).__name__}")
            self._problems = await self._look()
            if time.monotonic() - self._since > NO_PROGRESS_SECONDS_MAX:
                raise Hangs(f"no progress for {NO_PROGRESS_SECONDS_MAX:.0f} s: {self._problems or 'behind'}")

    async def _look(self) -> dict[str, str]:
        now = time.monotonic()
        try:
            assigned = {tp for tp in self._app.consumer.assignment() if tp.topic == PAYMENTS.name}
            async with asyncio.timeout(ENDS_SECONDS_MAX):
                tps = [TP(PAYMENTS.name, tp.partition) for tp in assigned]
                ends = await self._app.consumer.highwaters(*tps) if tps else {}
        except ConsumerNotStarted:
            return {"assignment": "no partition is assigned"}
        except (KafkaError, TimeoutError) as error:
            if not await self._reached():
                self._since = time.monotonic()  # without Kafka there is no progress to miss
            return {"kafka": f"no answer: {type(error).__name__}"}
        if not assigned:  # others have them all
            self._since = now
            return {}
        done = self._taking.next_offsets
        behind = sum(max(0, end - done.get(tp.partition, 0)) for tp, end in ends.items())
        self._since = max(self._since, self._taking.last_progress) if behind else now
        if behind and now - self._since > NOT_READY_SECONDS:
            return {"ledger": f"{behind} records wait, for {now - self._since:.0f} s without an outcome"}
        return {}
