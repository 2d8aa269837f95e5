"""What is committed reaches the topic once, in order and byte for byte, whatever happens to Kafka on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaTimeoutError

from events.replies import Outcome
from services.ledger import __main__ as ledger
from services.ledger.broker.kafka import KafkaBroker
from services.ledger.ports import StoredRow
from services.ledger.worker import Worker
from tests.asking import Asker, credit, customer_in, registration
from tests.integration.ledger.conftest import SHARDS, audit, published
from tests.running import System, eventually

STUMBLES = 6
CREDITS_MAX = 400


class Stumbling(KafkaBroker):
    """Every fifth batch fails: it never left (`lost`), or its acknowledgement never came (`arrived`)."""

    how = "lost"
    published = 0
    stumbled = 0

    async def publish(self, shard: int, events: Sequence[StoredRow]) -> int:
        self.published += 1
        if self.published % 5 == 0:
            self.stumbled += 1
            if self.how == "arrived":
                await super().publish(shard, events)
            raise KafkaTimeoutError
        return await super().publish(shard, events)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def customers(asker: Asker) -> list[str]:
    mark = uuid4().hex[:8]
    found = [customer_in(shard, SHARDS, mark) for shard in range(SHARDS)]
    for customer in found:
        assert (await asker.ask(customer, registration(), f"register {customer}")).outcome is Outcome.APPLIED
    return found


@pytest.mark.parametrize("how", ["lost", "arrived"])
async def test_good_batches_follow_failed_ones_without_gap_or_disorder(
    system: System, asker: Asker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    brokers: list[Stumbling] = []

    def stumbling(*arguments: object) -> Stumbling:
        brokers.append(Stumbling(*arguments))  # type: ignore[arg-type]
        brokers[-1].how = how
        return brokers[-1]

    monkeypatch.setattr(ledger, "KafkaBroker", stumbling)
    async with working(ledger.build(system.settings)):
        found, asked = await customers(asker), 0
        while brokers[0].stumbled < STUMBLES:
            assert asked < CREDITS_MAX, "batches do not fail as they should"
            for customer in found:
                asked += 1
                assert (await asker.ask(customer, credit(1), uuid4().hex)).outcome is Outcome.APPLIED
        await audit(system, asker)


@pytest.mark.parametrize("name", ["kafka", "postgres"])
async def test_a_server_that_dies_under_load_loses_and_doubles_nothing(
    system: System, asker: Asker, name: str
) -> None:
    server = system.kafka if name == "kafka" else system.postgres
    worker = system.service("ledger", "worker")
    worker.start()
    asks = []
    for number, customer in enumerate((await customers(asker)) * 25):
        asks.append(asyncio.create_task(asker.insist(customer, credit(1), uuid4().hex, 60)))
        await asyncio.sleep(0.02)
        if number == 40:
            server.kill()
            server.start()
    assert {(await one).outcome for one in asks} == {Outcome.APPLIED}
    await audit(system, asker)


async def test_what_is_committed_while_kafka_is_away_is_published_when_it_is_back(
    system: System, asker: Asker
) -> None:
    worker = system.service("ledger", "worker")
    worker.start()
    customer = (await customers(asker))[0]
    await published(system)  # else these would lag, too
    with system.store() as holder, system.store() as watch:
        before = watch.execute("SELECT sequence FROM shards WHERE shard = 0").fetchall()
        with holder.transaction():
            holder.execute("SELECT 1 FROM shards WHERE shard = 0 FOR UPDATE")
            await asker.send(customer, credit(3), uuid4().hex)
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%commit_batch%'"
            eventually(lambda: watch.execute(waiting).fetchall(), 5, what="the batch waits for its commit")
            system.kafka.kill()
        after = "SELECT sequence FROM shards WHERE shard = 0"
        eventually(lambda: watch.execute(after).fetchall() != before, 5, what="the batch is committed")
        eventually(lambda: worker.metric("wallet_ledger_relay_lag_events") == 1, 10, what="the lag shows")
    system.kafka.start()
    system.kafka.wait_ready()
    await audit(system, asker)
    eventually(lambda: worker.metric("wallet_ledger_relay_lag_events") == 0, 30, what="the lag is gone")
