"""One intake process: Faust receives, the ledger decides, the table is checked off; whatever fails ends the process."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import psycopg
import structlog

from events.codec import timestamp
from events.topics import PAYMENTS
from services.coffin import month_owner, sealed
from services.inbox import Inbox
from services.intake.asking import Asker
from services.intake.publications import Publications
from services.intake.publishing import Publisher
from services.intake.table import Table
from services.intake.taking import Taking
from services.intake.together import Together
from services.intake.watch import Watch
from services.kafka import reached
from services.keyring import KeyRing
from services.reading import Record
from services.receiving import Reading, make_app
from services.running import end_anyhow, serve, stopped, until_over
from services.settings import Settings

EXIT_STOPPED, EXIT_FAILED = 0, 1
READING = Reading(PAYMENTS.name, "wallet-ledger-intake", "intake")

Clock = Callable[[], int]
"""Microseconds since 1970."""
Ring = Callable[[], KeyRing]
"""Makes one: each thread that needs keys has its own."""

log = structlog.get_logger()


class Coffin:
    """Implements `taking.Coffin`."""

    def __init__(self, ring: KeyRing, asker: Asker, micros: Clock) -> None:
        self._micros = micros
        self._ring = ring
        self._asker = asker

    async def bury(self, record: Record, code: str, message: str) -> None:
        now = timestamp(self._micros())
        owner = month_owner(now[:7])
        keys = self._ring.cached({owner}) or await asyncio.to_thread(self._ring.get_or_create, [owner])
        letter = sealed(
            keys[owner], PAYMENTS.name, record.shard, record.offset, record.value, code, message, now=now
        )
        await self._asker.dead_letter(*letter)


async def run(settings: Settings, instance: str, ring: Ring, micros: Clock, stop: asyncio.Event) -> int:
    """Work until `stop` or a failure; returns the exit code."""
    dsn = settings.views_dsn.get_secret_value()
    inbox, asker, table = Inbox(), Asker(settings), Table(dsn)
    coffin, publisher = Coffin(ring(), asker, micros), Publisher(settings, ring(), Publications(dsn))
    ledger = Together(asker, settings.shards)
    taking = Taking(inbox, table, ledger, coffin, settings.upstream_mode, settings.upstream_wait_seconds)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def next_offsets() -> dict[int, int]:
        """For Faust, which would go on somewhere else after an exception: it gets none, the process ends."""
        try:
            return await taking.load()
        except psycopg.Error as error:
            if not failed.done():
                failed.set_exception(error)
            return await asyncio.Future()

    await table.open()
    await asker.start()
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-intake-") as folder:
        app = make_app(settings, READING, instance, Path(folder), next_offsets, inbox.put)
        watch = Watch(app, taking, partial(reached, settings))
        port = settings.intake_metrics_port or settings.http_port + 3
        server = await serve(settings.http_host, port, watch.problems)
        parts = (app.start(), asker.read_forever(), taking.work_forever(), watch.watch_forever(), failed)
        work = [asyncio.ensure_future(part) for part in (*parts, publisher.publish_forever())]
        error = await until_over(work, stop)
        for task in work:
            task.cancel()
        code = EXIT_STOPPED if error is None else EXIT_FAILED
        if error is None:
            app.leave_when_stopped()
        else:
            log.error("intake cannot go on", error=f"{type(error).__name__}: {error}", exc_info=error)
        closing = {"health": server.cleanup(), "database": table.close(), "kafka": asker.stop()}
        await _closed(code, closing | {"publisher": publisher.close()})
        if not await stopped("faust", app.stop()):
            os._exit(code)  # its threads would keep the interpreter; nothing of ours is open any more
    return code


async def _closed(code: int, parts: Mapping[str, Awaitable[None]]) -> None:
    end_anyhow(code)
    for part, closing in parts.items():
        await stopped(part, closing)
