"""`wallet-ledger verify`: what it prints."""

import asyncio
import json
from functools import partial

from services.console.mistakes import beside
from services.console.progress import bars
from services.keyring import key_ring
from services.ledger.recovery.verify import verify_shard as verify_store
from services.mistakes import ExitCode, Mistake
from services.projections.verify import verify_shard as verify_views
from services.settings import Settings
from services.topics import check_topics
from services.verifying import Checked, Finding, Throttle, confirmed, lines

SHOWN_MAX = 100


def verify(rate: int, *, as_json: bool) -> None:
    """
    Raises:
        Mistake: something does not fit.
    """
    settings = beside("kafka_bootstrap", "store_dsn", "views_dsn", "keys_dsn", "key_encryption_key")
    store, views = asyncio.run(_run(settings, Throttle(rate), as_json=as_json))
    findings = [finding for checked in (*store, *views) for finding in checked.findings]
    if as_json:
        told = {
            name: {one.shard: one.sequence for one in part}
            for name, part in (("store", store), ("views", views))
        }
        print(json.dumps({"verified": told, "findings": [finding._asdict() for finding in findings]}))
    else:
        print(*lines(findings[:SHOWN_MAX]), sep="\n", end="\n" if findings else "")
        print(_summary(store, views, findings))
    if findings:
        raise Mistake(f"{len(findings)} findings, see docs/operations.md", ExitCode.MISFIT)


async def _run(
    settings: Settings, throttle: Throttle, *, as_json: bool
) -> tuple[list[Checked], list[Checked]]:
    await check_topics(settings)
    keys = key_ring(settings)
    keys.check()
    check_store = partial(verify_store, settings, throttle=throttle)
    check_views = partial(verify_views, settings, keys, throttle=throttle)
    store: list[Checked] = []
    views: list[Checked] = []
    with bars(as_json) as shown:
        for name, check, found in (("store", check_store, store), ("read models", check_views, views)):
            for shard in range(settings.shards):
                shown.show(name, shard, settings.shards)
                found.append(await confirmed(check, shard))
            shown.show(name, settings.shards, settings.shards)
    return store, views


def _summary(store: list[Checked], views: list[Checked], findings: list[Finding]) -> str:
    events = sum(one.sequence for one in store)
    applied = sum(one.sequence for one in views)
    verdict = "all fits" if not findings else f"{len(findings)} findings"
    return (
        f"{len(store)} shards, {events:,} events in the store and, a moment later, {applied:,} in the read models: "
        f"topic, chain, receipts, balances, trial balance and read models: {verdict}"
    )
