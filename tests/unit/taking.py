"""Intake's work as its process does it, for as long as some records take."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from services.inbox import Inbox
from services.intake.taking import Taking
from services.reading import Record

SECONDS_MAX = 10


async def checked_off(taking: Taking, inbox: Inbox, records: Sequence[Record]) -> None:
    """They come together; returns when all are checked off. Raises what the work raises, and TimeoutError."""
    wanted = {record.shard: record.offset + 1 for record in records}
    work = asyncio.ensure_future(taking.work_forever())
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await inbox.put(records)
            while not (work.done() or wanted.items() <= taking.next_offsets.items()):  # noqa: ASYNC110 - on state
                await asyncio.sleep(0)
    finally:
        work.cancel()
    with suppress(asyncio.CancelledError):
        await work
