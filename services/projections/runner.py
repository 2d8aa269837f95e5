"""One projections process: Faust receives, a thread writes, a watch looks on; whatever fails ends the process."""

import asyncio
from functools import partial

import structlog

from events.topics import EVENTS
from services import health
from services.ends import Ends
from services.faust_process import EXIT_FAILED, cannot_go_on, live
from services.inbox import Inbox
from services.keyring import key_ring
from services.mistakes import ExitCode
from services.projections import metrics, verify
from services.projections.applying import ChainBroken
from services.projections.lag import Lag
from services.projections.projector import Healed, Lost, Projector
from services.projections.samples import Samples
from services.projections.watch import Watch
from services.projections.writer import Writer
from services.receiving import Reading, make_app
from services.settings import Settings
from services.verifying import Throttle, verify_forever

READING = Reading(EVENTS.name, "wallet-ledger-projections", "projections")

log = structlog.get_logger()


async def run(settings: Settings, instance: str, projector: Projector, stop: asyncio.Event) -> int:
    """Work until `stop` or a failure; returns the exit code."""
    inbox, lag = Inbox(), Lag()
    writer = Writer(projector, inbox, lag)
    app = make_app(settings, READING, instance, writer.next_offsets, inbox.put)
    ends = Ends(settings, READING.topic)
    watch = Watch(app, writer, lag, instance, ends)
    port = settings.metrics_port("projections")
    server = await health.serve(settings.http_host, port, watch.problems)
    samples = Samples(settings.views_dsn.get_secret_value())
    projector.forgot = samples.note
    work = (
        watch.watch_forever(), writer.write_forever(), _check(settings, watch), samples.renew_forever()
    )  # fmt: skip
    closing = {"health": server.cleanup(), "ends": ends.close(), "database": writer.close(instance)}
    return await live(app, work, closing, _failed, stop)


async def _check(settings: Settings, watch: Watch) -> None:
    """Slowly, what is assigned to this process: are the read models what the events make?"""
    if rate := settings.verify_events_per_second:
        check = partial(verify.verify_shard, settings, key_ring(settings), throttle=Throttle(rate))
        await verify_forever(check, watch.assigned, metrics.VERIFIED)


def _failed(error: BaseException) -> int:
    if isinstance(error, ChainBroken):
        log.error("the chain is broken; a restart reads again from the checkpoint", breaks=str(error))
        return ExitCode.MISFIT
    if isinstance(error, Healed):
        log.warning("halted shards can go on; a restart reads what was passed over", shards=error.shards)
        return EXIT_FAILED
    if isinstance(error, Lost):
        log.warning("the read models came back older; a restart reads what they lost", shards=error.shards)
        return EXIT_FAILED
    return cannot_go_on("projections", error)
