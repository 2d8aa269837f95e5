"""The life of a process that Faust receives for, and the watch over it. Whatever fails ends it, and that is the cure: the
supervisor starts it again, and it seeks to its checkpoints."""

import asyncio
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, ClassVar

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted

from services.ends import Ends
from services.receiving import CheckpointApp
from services.running import end_anyhow, stopped, until_over

EXIT_STOPPED, EXIT_FAILED = 0, 1
WATCH_SECONDS = 1.0
STARTING_SECONDS = 0.1

log = structlog.get_logger()


class Hangs(Exception):
    """There is work and none is done: Faust is known to stop fetching. Only a new process helps."""


class FaustWatch(ABC):
    """Looks from outside: it asks Kafka for the topic's ends itself, for a deaf consumer does not know them."""

    no_progress_seconds_max: ClassVar[float]

    def __init__(self, app: CheckpointApp, ends: Ends) -> None:
        self._app = app
        self._ends = ends
        self._problems = {"assignment": "no partition is assigned yet"}
        self._since = time.monotonic()
        """When all was well last, as far as the consumer and what is behind it are concerned."""

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
            if time.monotonic() - self._since > self.no_progress_seconds_max:
                found = self._problems or "behind"
                raise Hangs(f"no progress for {self.no_progress_seconds_max:.0f} s: {found}")

    async def _look(self) -> dict[str, str]:
        """One round: the problems it finds; moves `_since` where there is no reason to worry."""
        now = time.monotonic()
        try:
            partitions = self._app.received()
            seen = await self._ends.seen(partitions)
        except ConsumerNotStarted:
            return {"assignment": "no partition is assigned"}
        except (KafkaError, TimeoutError) as error:
            self._since = time.monotonic()  # without Kafka there is no progress to miss
            return {"kafka": f"no answer: {type(error).__name__}"}
        found = self._judge(now, partitions, seen.ends)
        if seen.silent:
            found["kafka"] = f"partitions of {self._app.read_topic} without an end: {seen.silent}"
        return found

    @abstractmethod
    def _judge(self, now: float, partitions: Collection[int], ends: Mapping[int, int]) -> dict[str, str]:
        """As `_look`, of what is assigned; its ends as they were at `now`, as far as somebody says them."""


async def live(
    app: CheckpointApp,
    parts: Iterable[Coroutine[Any, Any, None]],
    closing: Mapping[str, Awaitable[None]],
    failed: Callable[[BaseException], int],
    stop: asyncio.Event,
) -> int:
    """Work until `stop` or a failure, of which `failed` tells and makes the exit code; returns the exit code.

    Faust is closed last, and leaves its group only then: others may have its partitions when nothing of ours writes any
    more, and until then it is the member that the broker knows by name.
    """
    work = [asyncio.ensure_future(part) for part in (app.start(), app.failed, *parts)]
    error = await until_over(work, stop)
    code = EXIT_STOPPED if error is None else failed(error)
    end_anyhow(code)
    for task in work:
        task.cancel()
    for part, close in closing.items():
        await stopped(part, close)
    if error is None:  # else we are started again at once, and go on with the same partitions
        app.leave_when_stopped()
    if not await stopped("faust", app.stop()):
        os._exit(code)  # its threads would keep the interpreter; nothing of ours is open any more
    return code


def cannot_go_on(service: str, error: BaseException) -> int:
    """The exit code of a failure that has no other."""
    log.error(f"{service} cannot go on", error=f"{type(error).__name__}: {error}", exc_info=error)
    return EXIT_FAILED
