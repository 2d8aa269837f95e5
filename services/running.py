"""The life of a process made of parts: it ends with the first that fails. Ending is the cure for everything."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Sequence
from typing import Any

import psycopg
import structlog
from aiokafka.errors import KafkaError

STOP_SECONDS_MAX = 1.5
ENDING_SECONDS_MAX = 10.0
"""All parts in turn, and some more."""

log = structlog.get_logger()


async def until_over(work: Sequence[asyncio.Future[Any]], stop: asyncio.Event) -> BaseException | None:
    """Waits for a stop or the first failure; a part that just ends (the start of Faust) is no reason to stop."""
    stopping = asyncio.ensure_future(stop.wait())
    waiting = {*work, stopping}
    while not stopping.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:  # cancelled, and not by us: failed, like any other
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                stopping.cancel()
                return error
    return None


def end_anyhow(code: int) -> None:
    """Call it as the ending begins: from then on the process is gone in time.

    Faust waits for its thread without giving the loop back (`mode.threads.WorkerThread.stop`), and a deaf thread never
    ends: no time-out is noticed then, and nobody starts a process again that is still there.
    """
    timer = threading.Timer(ENDING_SECONDS_MAX, os._exit, [code])
    timer.daemon = True
    timer.start()


async def stopped(part: str, stopping: Awaitable[None]) -> bool:
    """Whether it stopped in order and in time."""
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await stopping
    except (TimeoutError, psycopg.Error, KafkaError) as error:
        log.warning("did not stop in order", part=part, error=type(error).__name__)
        return False
    return True
