"""One projections process: Faust receives, a thread writes, a watch looks on; whatever fails ends the process.

Ending is the cure for everything here: the supervisor starts the process again, and it seeks to its checkpoints.
"""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import structlog
from aiohttp import web

from services import health
from services.keyring import KeyRing, parse_kek
from services.projections import verify
from services.projections.agent import make_app
from services.projections.applying import ChainBroken
from services.projections.inbox import Inbox
from services.projections.lag import Lag
from services.projections.projector import Projector
from services.projections.watch import Watch
from services.projections.writer import Writer
from services.settings import Settings
from services.verifying import Throttle, verify_forever

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_CHAIN_BROKEN = 5  # as all of the command line: what is there does not fit
STOP_SECONDS_MAX = 1.5

log = structlog.get_logger()


class PortTaken(Exception):
    """Somebody else listens where health and metrics are to be served."""


async def run(settings: Settings, instance: str, projector: Projector, stop: asyncio.Event) -> int:
    """Work until `stop` or a failure; returns the exit code."""
    inbox, lag = Inbox(), Lag()
    writer = Writer(projector, inbox, lag)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def next_offsets() -> dict[int, int]:
        """For Faust, which would go on somewhere else after an exception: it gets none, the process ends."""
        try:
            return await writer.next_offsets()
        except psycopg.Error as error:
            if not failed.done():
                failed.set_exception(error)
            return await asyncio.Future()

    with tempfile.TemporaryDirectory(prefix="wallet-ledger-projections-") as folder:
        app = make_app(settings, instance, Path(folder), next_offsets, inbox.put)
        watch = Watch(app, writer, lag, instance)
        server = await _serve(settings, watch.problems)
        checking = _check(settings, watch)
        parts = (app.start(), writer.write_forever(), watch.watch_forever(), checking, failed)
        work = [asyncio.ensure_future(part) for part in parts]
        code = await _until_over(work, stop)
        for task in work:
            task.cancel()
        await _stopped("health", server.cleanup())
        await _stopped("database", writer.close(instance))
        if code == EXIT_STOPPED:  # else we are started again at once, and go on with the same shards
            app.leave_when_stopped()
        if not await _stopped("faust", app.stop()):
            os._exit(code)  # its threads would keep the interpreter; nothing of ours is open any more
    return code


async def _check(settings: Settings, watch: Watch) -> None:
    """Slowly, what is assigned to this process: are the read models what the events make?"""
    if rate := settings.verify_events_per_second:
        kek = parse_kek(settings.key_encryption_key.get_secret_value())
        keys = KeyRing(settings.keys_dsn.get_secret_value(), kek)
        check = partial(verify.verify_shard, settings, keys, throttle=Throttle(rate))
        await verify_forever(check, watch.assigned, verify.note)


async def _serve(settings: Settings, problems: health.Problems) -> web.AppRunner:
    port = settings.projections_metrics_port or settings.http_port + 2
    try:
        return await health.serve(settings.http_host, port, problems)
    except OSError as error:
        raise PortTaken(f"cannot serve /readyz and /metrics: {error.strerror or error}") from error


async def _until_over(work: Sequence[asyncio.Future[Any]], stop: asyncio.Event) -> int:
    """Waits for a stop or the first failure; a part that just ends (the start of Faust) is no reason to stop."""
    stopping = asyncio.ensure_future(stop.wait())
    waiting = {*work, stopping}
    while not stopping.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if (error := task.exception()) is not None:
                stopping.cancel()
                return _code_of(error)
    return EXIT_STOPPED


def _code_of(error: BaseException) -> int:
    if isinstance(error, ChainBroken):
        log.error("the chain is broken; a restart reads again from the checkpoint", breaks=str(error))
        return EXIT_CHAIN_BROKEN
    log.error("projections cannot go on", error=f"{type(error).__name__}: {error}", exc_info=error)
    return EXIT_FAILED


async def _stopped(part: str, stopping: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await stopping
    except (TimeoutError, psycopg.Error) as error:
        log.warning("did not stop in order", part=part, error=type(error).__name__)
        return False
    return True
