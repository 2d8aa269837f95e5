"""Something long, without losing the session that holds the shards."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

HEARTBEAT_SECONDS = 1.0


async def beating(beat: Callable[[], Awaitable[object]], work: Coroutine[Any, Any, T]) -> T:
    """Await it while the store hears from us each second."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=HEARTBEAT_SECONDS))[0]:
            await beat()
    finally:
        task.cancel()  # nothing of this life may go on in the next
        await asyncio.wait({task})
    return task.result()
