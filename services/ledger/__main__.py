"""Composition root of the ledger worker: reads settings, wires the ports, starts again like a stranger."""

import asyncio
import contextlib
import secrets
import signal
import socket
import time
from functools import partial

import psycopg
import structlog
import uvloop
from aiokafka.errors import KafkaError

from events.topics import COMMANDS
from services import health, logs, runtime
from services.coffin import MonthlyCoffin
from services.keyring import DataKeys, check_keys, key_ring
from services.ledger import metrics
from services.ledger.batches.batch import Configured
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.failures import OwnershipLost, TopicDiverged, WrongStore
from services.ledger.recovery import verify
from services.ledger.recovery.erased import check_erased
from services.ledger.store.postgres import PostgresStore
from services.ledger.worker import Worker
from services.settings import Settings
from services.topics import check_topics
from services.verifying import Throttle, verify_forever

log = structlog.get_logger()

BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0)
SKEW_SECONDS_MAX = 1.0
SILENT_SECONDS_MAX = 5.0


class SystemClock:
    """Implements `ports.Clock`."""

    def micros(self) -> int:
        return time.time_ns() // 1_000


def build(settings: Settings) -> Worker:
    """A worker on real servers."""
    clock = SystemClock()
    keys = DataKeys(key_ring(settings))
    return Worker(
        store=PostgresStore(settings.store_dsn.get_secret_value(), _name(settings)),
        broker=KafkaBroker(settings),
        clock=clock,
        keys=keys,
        coffin=MonthlyCoffin(COMMANDS.name, keys, clock.micros),
        configured=Configured(
            frozenset(settings.currencies),
            settings.request_hash_secret.get_secret_value().encode(),
            frozenset(settings.wallet_rules),
        ),
        shards=settings.shards,
        acknowledge_topic=settings.acknowledge == "store+topic",
    )


def _name(settings: Settings) -> str:
    """Readable, and no other process's: two that have one name by mistake must not share as one."""
    return f"{settings.instance or f'{socket.gethostname()}-ledger'}-{secrets.token_hex(4)}"


def main(settings: Settings) -> int:
    """Blocks until SIGTERM or SIGINT; the exit code."""
    logs.configure(settings, "ledger")
    runtime.settle()
    check_keys(settings)
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    await check_topics(settings)
    if again := await asyncio.to_thread(check_erased, settings):
        log.error("keys_of_erased_customers_destroyed_again", count=again)
    worker = build(settings)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, worker, stopping)
    port = settings.metrics_port("ledger")
    runner = await health.serve(settings.http_host, port, lambda: _problems(worker))
    checking = asyncio.create_task(_check(settings, worker))
    try:
        await _run_again_and_again(worker, stopping)
    finally:
        checking.cancel()
        await asyncio.wait({checking})
        await runner.cleanup()
    return 0


async def _run_again_and_again(worker: Worker, stopping: asyncio.Event) -> None:
    """Errors of the servers end in a fresh start; before the first success they end the process."""
    tries = 0
    worked = False
    while not stopping.is_set():
        started = time.monotonic()
        try:
            await worker.run()
        except WrongStore:
            raise
        except (psycopg.Error, KafkaError, OwnershipLost, TopicDiverged, OSError, TimeoutError) as error:
            worked = worked or worker.worked
            if not worked:
                raise
            metrics.COMMITS_FAILED.labels(type(error).__name__).inc()
            log.warning("worker_starts_anew", error=type(error).__name__, message=str(error).splitlines()[:1])
        tries = 0 if time.monotonic() - started > 10 else tries + 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS) - 1)])


async def _check(settings: Settings, worker: Worker) -> None:
    """Slowly, what this worker owns: store, topic and receipts."""
    if rate := settings.verify_events_per_second:
        check = partial(verify.verify_shard, settings, throttle=Throttle(rate))
        await verify_forever(check, lambda: worker.owned, metrics.VERIFIED)


def _stop(worker: Worker, stopping: asyncio.Event) -> None:
    stopping.set()
    worker.stop()


def _problems(worker: Worker) -> dict[str, str]:
    found = {}
    if worker.refused:
        found["topic"] = (
            f"shards {sorted(worker.refused)} are not owned; the log says why: `topic_leaderless` ends with "
            "the partition's leader, of `topic_diverged` `wallet-ledger recover` takes back what the store lacks"
        )
    if worker.held:
        found["dead_letters"] = (
            "Kafka takes no dead letters, or no events, or dead letters have no key: "
            f"shards {sorted(worker.held)} wait, the others go on; the log says why"
        )
    if not worker.connected:
        found["store"] = "not connected to PostgreSQL and Kafka"
    elif worker.silent_seconds > SILENT_SECONDS_MAX:
        found["store"] = "PostgreSQL does not answer"
    if abs(worker.skew_seconds) > SKEW_SECONDS_MAX:
        found["clock"] = f"differs from the database's by {worker.skew_seconds:.1f} s"
    return found
