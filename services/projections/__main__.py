"""The projections process: `python -m services.projections`, or `wallet-ledger projections`."""

import asyncio
import logging
import signal
import socket
import sys

import psycopg
import structlog
import uvloop
from aiokafka.errors import KafkaError

from services import logs, runtime, topics
from services.keyring import WrongKek, key_ring
from services.projections.projector import Projector
from services.projections.runner import run
from services.running import PortTaken
from services.settings import Settings

EXIT_SETTINGS, EXIT_UNREACHABLE, EXIT_MISFIT = 3, 4, 5

log = structlog.get_logger()


class Unfit(Exception):
    """The surroundings are not as they must be; one line for whoever started us, and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(settings, "projections")
    logging.getLogger("services.receiving").setLevel(logging.WARNING)  # Faust logs under our name too
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # Faust makes loops of its own, in threads
    runtime.settle()
    try:
        projector = _projector(settings)
        _check_topics(settings)
        return asyncio.run(_until_signal(settings, projector))
    except Unfit as error:
        print(f"projections: {error}", file=sys.stderr)
        return error.code


async def _until_signal(settings: Settings, projector: Projector) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    instance = settings.instance or f"{socket.gethostname()}-projections"
    try:
        return await run(settings, instance, projector, stop)
    except PortTaken as error:
        raise Unfit(str(error), EXIT_SETTINGS) from error


def _projector(settings: Settings) -> Projector:
    """Raises Unfit unless read models and keys are there and fit each other."""
    try:
        keys = key_ring(settings)
    except ValueError as error:
        raise Unfit(f"WALLET_LEDGER_KEY_ENCRYPTION_KEY: {error}", EXIT_SETTINGS) from error
    try:
        keys.check()
    except psycopg.Error as error:
        raise Unfit(f"WALLET_LEDGER_KEYS_DSN: {_line(error)}", _code(error)) from error
    except WrongKek as error:
        raise Unfit(f"WALLET_LEDGER_KEY_ENCRYPTION_KEY: {error}", EXIT_SETTINGS) from error
    projector = Projector(settings.views_dsn.get_secret_value(), keys)
    try:
        shards = len(projector.load())
    except psycopg.Error as error:
        raise Unfit(f"WALLET_LEDGER_VIEWS_DSN: {_line(error)}", _code(error)) from error
    if shards != settings.shards:
        raise Unfit(
            f"the read models have {shards} shards, the configuration says {settings.shards}", EXIT_MISFIT
        )
    return projector


def _check_topics(settings: Settings) -> None:
    chatter = logging.getLogger("aiokafka")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)  # the one line is ours
    try:
        topics.check(settings)
    except topics.WrongTopic as error:
        raise Unfit(str(error), EXIT_MISFIT) from error
    except (KafkaError, OSError) as error:
        raise Unfit(f"Kafka at {settings.kafka_bootstrap}: {_line(error)}", EXIT_UNREACHABLE) from error
    finally:
        chatter.setLevel(level)


def _code(error: psycopg.Error) -> int:
    if isinstance(error, psycopg.OperationalError):
        return EXIT_UNREACHABLE
    return EXIT_MISFIT if isinstance(error, psycopg.errors.UndefinedTable) else EXIT_SETTINGS


def _line(error: Exception) -> str:
    """The first line of what it says, with a hint where the schema is missing."""
    if isinstance(error, psycopg.errors.UndefinedTable):
        return "the tables are missing: run `wallet-ledger migrate`"
    return next(iter(str(error).splitlines()), type(error).__name__)


if __name__ == "__main__":
    sys.exit(main(Settings()))
