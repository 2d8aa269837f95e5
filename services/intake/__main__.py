"""The intake process: `python -m services.intake`, or `wallet-ledger intake`."""

import asyncio
import logging
import signal
import socket
import sys
import time
from functools import partial

import uvloop

from services import logs, runtime, topics
from services.intake.runner import Ring, run
from services.keyring import KeyRing, parse_kek
from services.settings import Settings


def main(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(settings, "intake")
    logging.getLogger("services.receiving").setLevel(logging.WARNING)  # Faust logs under our name too
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # Faust makes loops of its own, in threads
    runtime.settle()
    topics.check(settings)
    kek = parse_kek(settings.key_encryption_key.get_secret_value())
    make_ring = partial(KeyRing, settings.keys_dsn.get_secret_value(), kek)
    ring = make_ring()
    ring.check()
    ring.forget()
    return asyncio.run(_until_signal(settings, make_ring))


async def _until_signal(settings: Settings, make_ring: Ring) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = settings.instance or f"{socket.gethostname()}-intake"
    return await run(settings, instance, make_ring, lambda: time.time_ns() // 1_000, stop)


if __name__ == "__main__":
    sys.exit(main(Settings()))
