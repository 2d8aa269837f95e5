"""Clients that end as cancelled take nobody along; a part that does so is a part that failed."""

import asyncio
import subprocess
import sys

import pytest
from aiokafka.errors import KafkaConnectionError

from services.kafka import ended
from services.running import until_over


class Client:
    """As aiokafka's consumer: what its stop comes to."""

    def __init__(self, error: BaseException | None = None, seconds: float = 0.0) -> None:
        self._error = error
        self._seconds = seconds

    async def stop(self) -> None:
        await asyncio.sleep(self._seconds)
        if self._error is not None:
            raise self._error


async def test_a_client_that_stops_as_cancelled_has_stopped() -> None:
    await ended(Client(asyncio.CancelledError()), 5)
    await ended(Client(), 5)


async def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(KafkaConnectionError):
        await ended(Client(KafkaConnectionError()), 5)
    with pytest.raises(TimeoutError):
        await ended(Client(seconds=5), 0.01)


async def test_who_is_cancelled_himself_is_cancelled() -> None:
    ending = asyncio.ensure_future(ended(Client(seconds=5), 5))
    await asyncio.sleep(0.01)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending


async def test_a_part_that_ends_as_cancelled_ends_the_process() -> None:
    async def part() -> None:
        raise asyncio.CancelledError

    async with asyncio.timeout(5):
        error = await until_over([asyncio.ensure_future(part())], asyncio.Event())
    assert isinstance(error, asyncio.CancelledError)


async def test_a_part_that_is_done_is_no_reason_to_end() -> None:
    stop = asyncio.Event()
    over = asyncio.ensure_future(until_over([asyncio.ensure_future(asyncio.sleep(0))], stop))
    await asyncio.sleep(0.01)
    assert not over.done()
    stop.set()
    assert await over is None


def test_a_process_whose_loop_is_blocked_as_it_ends_is_gone_in_time() -> None:
    blocked = """
import asyncio, threading
from services import running

running.ENDING_SECONDS_MAX = 0.2

async def main():
    running.end_anyhow(7)
    threading.Event().wait()

asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", blocked], timeout=30, check=False).returncode == 7
