"""The life of a process that Faust receives for. Whatever fails ends it, and that is the cure: the supervisor starts it
again, and it seeks to its checkpoints."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

import structlog

from services.receiving import CheckpointApp
from services.running import end_anyhow, stopped, until_over

EXIT_STOPPED, EXIT_FAILED = 0, 1

Part = Coroutine[None, None, None]
Close = Callable[[], Awaitable[None]]

log = structlog.get_logger()


async def live(
    app: CheckpointApp,
    parts: Sequence[Part],
    closing: Mapping[str, Close],
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
        await stopped(part, close())
    if error is None:  # else we are started again at once, and go on with the same partitions
        app.leave_when_stopped()
    if not await stopped("faust", app.stop()):
        os._exit(code)  # its threads would keep the interpreter; nothing of ours is open any more
    return code


def cannot_go_on(service: str, error: BaseException) -> int:
    """The exit code of a failure that has no other."""
    log.error(f"{service} cannot go on", error=f"{type(error).__name__}: {error}", exc_info=error)
    return EXIT_FAILED
