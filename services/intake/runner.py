"""One intake process: Faust receives, the ledger decides, the table is checked off; whatever fails ends the process."""

import asyncio
from functools import partial

from events.topics import PAYMENTS
from services import health
from services.coffin import DeadLetter, MonthlyCoffin
from services.ends import Ends
from services.faust_process import cannot_go_on, live
from services.inbox import Inbox
from services.intake.asking import Asker
from services.intake.publications import Publications
from services.intake.publishing import Publisher
from services.intake.table import Table
from services.intake.taking import Clock, Taking
from services.intake.together import Together
from services.intake.watch import Watch
from services.keyring import DataKeys, key_ring
from services.reading import Record
from services.receiving import Reading, make_app
from services.settings import Settings

READING = Reading(PAYMENTS.name, "wallet-ledger-intake", "intake")


class Coffin:
    """Implements `taking.Coffin`."""

    def __init__(self, coffin: MonthlyCoffin, asker: Asker) -> None:
        self._coffin = coffin
        self._asker = asker

    async def bury(self, record: Record, code: str, message: str) -> None:
        await self._asker.dead_letter(*await self._coffin.seal(DeadLetter(*record, code, message)))


async def run(settings: Settings, instance: str, micros: Clock, stop: asyncio.Event) -> int:
    """Work until `stop` or a failure; returns the exit code."""
    dsn = settings.views_dsn.get_secret_value()
    inbox, asker, table = Inbox(), Asker(settings, micros), Table(dsn)
    keys = DataKeys(key_ring(settings))
    coffin = Coffin(MonthlyCoffin(PAYMENTS.name, keys, micros), asker)
    publisher = Publisher(settings, key_ring(settings), Publications(dsn))
    ledger, wait_seconds = Together(asker, settings.shards), settings.upstream_wait_seconds
    taking = Taking(inbox, table, ledger, coffin, settings.upstream_mode, wait_seconds, micros)
    load = partial(taking.load, Ends(settings, READING.topic))
    app = make_app(settings, READING, instance, load, inbox.put)
    ends = Ends(settings, READING.topic)
    watch = Watch(app, taking, asker, ends)
    port = settings.metrics_port("intake")
    server = await health.serve(settings.http_host, port, lambda: watch.problems() | publisher.problems())
    await table.open()
    await table.next_offsets()  # a database without its tables is said before anything begins
    await asker.start()
    work = (watch.watch_forever(), asker.read_forever(), taking.work_forever(), publisher.publish_forever())
    closing = {"health": server.cleanup(), "database": table.close(), "kafka": asker.stop()}
    closing |= {"publisher": publisher.close(), "ends": ends.close()}
    return await live(app, work, closing, partial(cannot_go_on, "intake"), stop)
