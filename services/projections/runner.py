"""One projections process: Faust receives, a thread writes, a watch looks on; whatever fails ends the process.

Ending is the cure for everything here: the supervisor starts the process again, and it seeks to its checkpoints.
"""

import asyncio
import os
import tempfile
from functools import partial
from pathlib import Path

import psycopg
import structlog

from events.topics import EVENTS
from services.inbox import Inbox
from services.kafka import reached
from services.keyring import key_ring
from services.projections import metrics, verify
from services.projections.applying import ChainBroken
from services.projections.lag import Lag
from services.projections.projector import Projector
from services.projections.watch import Watch
from services.projections.writer import Writer
from services.receiving import Reading, make_app
from services.running import end_anyhow, serve, stopped, until_over
from services.settings import Settings
from services.verifying import Throttle, verify_forever

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_CHAIN_BROKEN = 5  # as all of the command line: what is there does not fit
READING = Reading(EVENTS.name, "wallet-ledger-projections", "projections")

log = structlog.get_logger()


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
        app = make_app(settings, READING, instance, Path(folder), next_offsets, inbox.put)
        watch = Watch(app, writer, lag, instance, partial(reached, settings))
        port = settings.projections_metrics_port or settings.http_port + 2
        server = await serve(settings.http_host, port, watch.problems)
        checking = _check(settings, watch)
        parts = (app.start(), writer.write_forever(), watch.watch_forever(), checking, failed)
        work = [asyncio.ensure_future(part) for part in parts]
        code = _code_of(await until_over(work, stop))
        end_anyhow(code)
        for task in work:
            task.cancel()
        await stopped("health", server.cleanup())
        await stopped("database", writer.close(instance))
        if code == EXIT_STOPPED:  # else we are started again at once, and go on with the same shards
            app.leave_when_stopped()
        if not await stopped("faust", app.stop()):
            os._exit(code)  # its threads would keep the interpreter; nothing of ours is open any more
    return code


async def _check(settings: Settings, watch: Watch) -> None:
    """Slowly, what is assigned to this process: are the read models what the events make?"""
    if rate := settings.verify_events_per_second:
        check = partial(verify.verify_shard, settings, key_ring(settings), throttle=Throttle(rate))
        await verify_forever(check, watch.assigned, metrics.VERIFIED)


def _code_of(error: BaseException | None) -> int:
    if error is None:
        return EXIT_STOPPED
    if isinstance(error, ChainBroken):
        log.error("the chain is broken; a restart reads again from the checkpoint", breaks=str(error))
        return EXIT_CHAIN_BROKEN
    log.error("projections cannot go on", error=f"{type(error).__name__}: {error}", exc_info=error)
    return EXIT_FAILED
