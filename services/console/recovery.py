"""`wallet-ledger recover`: what it prints."""

import asyncio
import json
from collections.abc import Iterable
from uuid import UUID

import psycopg

from services.console.mistakes import beside
from services.console.progress import bars
from services.keyring import key_ring
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.failures import OwnershipLost
from services.ledger.recovery.erased import check_erased
from services.ledger.recovery.recover import Recovery
from services.ledger.recovery.report import Report, left_to_do
from services.ledger.store.postgres import PostgresStore
from services.mistakes import ExitCode, Mistake
from services.settings import Settings
from services.topics import check_topics


class TableOfKeys:
    """Implements `recover.Keys`."""

    def __init__(self, settings: Settings) -> None:
        self._ring = key_ring(settings)

    async def unknown(self, owners: Iterable[UUID]) -> set[UUID]:
        return await asyncio.to_thread(self._ring.unknown, owners)


def recover(*, dry: bool, as_json: bool) -> None:
    """
    Raises:
        Mistake: something is left that the topic cannot mend; what could be taken was taken.
    """
    settings = beside("kafka_bootstrap", "store_dsn", "keys_dsn", "key_encryption_key")
    try:
        report = asyncio.run(_run(settings, dry=dry, as_json=as_json))
    except OwnershipLost as error:
        raise Mistake(f"a worker took a shard meanwhile, run it again: {error}", ExitCode.REFUSED) from error
    except psycopg.IntegrityError as error:
        message = f"the store refuses an event of the topic, nothing was overwritten: {type(error).__name__}"
        raise Mistake(message, ExitCode.MISFIT) from error
    again = 0 if dry else check_erased(settings)  # what was taken back may say so of somebody
    left = left_to_do(report)
    if as_json:
        shards = [shard._asdict() for shard in report.shards]
        print(
            json.dumps(
                {
                    "dry_run": dry,
                    "shards": shards,
                    "owned": report.owned,
                    "left": left,
                    "keys_destroyed": again,
                }
            )
        )
    else:
        _tell(report, dry=dry)
        if again:
            print(f"{again} keys of erased customers were there again and are destroyed")
    if left:
        raise Mistake("; ".join(left), ExitCode.MISFIT)


async def _run(settings: Settings, *, dry: bool, as_json: bool) -> Report:
    await check_topics(settings)
    with bars(as_json) as shown:
        recovery = Recovery(
            store=PostgresStore(settings.store_dsn.get_secret_value(), "recover"),
            broker=KafkaBroker(settings),
            keys=TableOfKeys(settings),
            shards=settings.shards,
            dry=dry,
            progress=lambda done: shown.show("records", done, None),
        )
        return await recovery.run()


def _tell(report: Report, *, dry: bool) -> None:
    would = "would take" if dry else "took"
    for one in report.shards:
        if one.taken:
            print(
                f"shard {one.shard}: {would} {one.taken:,} events from the topic, up to sequence {one.sequence:,}"
            )
        elif one.unpublished and not one.refused:
            print(
                f"shard {one.shard}: {one.unpublished:,} events are not in the topic yet; a worker publishes them"
            )
    print(f"{would} {sum(one.taken for one in report.shards):,} events in all")
    if report.owned:
        whose = "shards that a worker owns, or has not looked at to the end since it took them"
        print(f"left alone: {len(report.owned)} {whose}: {report.owned}")
