"""Composition root of the projections."""

import asyncio
import logging
import signal
import socket

import uvloop

from services import logs, runtime, topics
from services.keyring import key_ring
from services.mistakes import check_shards
from services.projections.projector import Projector
from services.projections.runner import run
from services.settings import Settings


def main(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(settings, "projections")
    logging.getLogger("services.receiving").setLevel(logging.WARNING)  # Faust logs under our name too
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # Faust makes loops of its own, in threads
    runtime.settle()
    topics.check(settings)
    return asyncio.run(_until_signal(settings, build(settings)))


def build(settings: Settings) -> Projector:
    """A projector on read models and keys that fit.

    Raises:
        WrongKek, WrongShards, psycopg.Error
    """
    keys = key_ring(settings)
    keys.check()
    projector = Projector(settings.views_dsn.get_secret_value(), keys)
    check_shards("the database of read models", len(projector.load()), settings.shards)
    return projector


async def _until_signal(settings: Settings, projector: Projector) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = settings.instance or f"{socket.gethostname()}-projections"
    return await run(settings, instance, projector, stop)
