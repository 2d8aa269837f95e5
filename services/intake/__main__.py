"""Composition root of intake."""

import asyncio
import logging
import signal
import socket
import time

import uvloop

from services import logs, runtime, topics
from services.intake.runner import run
from services.keyring import check_keys
from services.settings import Settings


def main(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(settings, "intake")
    logging.getLogger("services.receiving").setLevel(logging.WARNING)  # Faust logs under our name too
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # Faust makes loops of its own, in threads
    runtime.settle()
    topics.check(settings)
    check_keys(settings)
    return asyncio.run(_until_signal(settings))


async def _until_signal(settings: Settings) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = settings.instance or f"{socket.gethostname()}-intake"
    return await run(settings, instance, lambda: time.time_ns() // 1_000, stop)
