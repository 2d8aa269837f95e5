"""One ledger on real servers for all tests of this folder; what they leave behind is audited after each."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from services.standalone.process import last_lines
from tests.asking import Asker, asking, read_topic
from tests.auditing import Told, balances_of, check_chain, check_store, events_of
from tests.running import System, running

SHARDS = 4


@pytest.fixture(scope="package")
def whole() -> Iterator[System]:
    """Servers of our own: they are killed and frozen here."""
    with running(SHARDS) as system:
        yield system


@pytest.fixture
def system(whole: System) -> Iterator[System]:
    """All servers up, no service running."""
    whole.heal()
    yield whole
    for log in sorted(whole.folder.glob("*.log")):  # shown where a test fails
        print(f"--- {log.name}\n{last_lines(log, 20)}")
    whole.heal()


@pytest.fixture
async def asker(system: System) -> AsyncIterator[Asker]:
    async with asking(system.kafka.bootstrap, SHARDS) as started:
        yield started


async def published(system: System, seconds: float = 15) -> dict[int, list[Told]]:
    """The topic's events, once it has all that the store has: an answer may come before the publishing."""
    with system.store() as store:
        async with asyncio.timeout(seconds):
            while True:
                events = events_of(await read_topic(system.kafka.bootstrap, SHARDS))
                rows = store.execute("SELECT shard, sequence FROM shards").fetchall()
                if all(len(events[shard]) >= sequence for shard, sequence in rows):
                    return events
                await asyncio.sleep(0.1)


async def audit(system: System, asker: Asker) -> None:
    """Topic, store and receipts are one; every answer says what the topic says; nobody was answered twice."""
    events = await published(system)
    with system.store() as store:
        check_chain(events, store)
        check_store(events, store)
    balances_of(events)
    told = {one.envelope.id: one for shard in events for one in events[shard]}
    for correlation, replies in asker.replies.items():
        assert len(replies) == 1, f"{len(replies)} answers to {correlation}"
        for one in replies[0].entries or replies:
            if one.position:
                fact = told[one.position].fact
                assert getattr(fact, "balance_after", one.balance_after) == one.balance_after
