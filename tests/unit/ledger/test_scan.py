"""How far the topic holds what the store holds: each shard by itself, whatever lies in the others."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from events.codec import decode_envelope
from services.ledger.ports import Broker, Store, StoredRow
from services.ledger.relay.scan import Published, Scan
from tests.asking import customer_in
from tests.factories import EventFactory

Log = dict[int, list[bytes]]
SHARDS = 2


class Topic:
    """`log` by shard; offsets count from 0. Records of the shards come in turn; `read` counts them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.read = Counter[int]()

    async def events_from(
        self, offsets: Mapping[int, int], unwanted: Collection[int] = ()
    ) -> AsyncIterator[tuple[int, int, bytes]]:
        longest = max(map(len, self.log.values()))
        for offset in range(longest):
            for shard, start in sorted(offsets.items()):
                if start <= offset < len(self.log[shard]) and shard not in unwanted:
                    self.read[shard] += 1
                    yield shard, offset, self.log[shard][offset]


class Stored:
    """The events of a store."""

    def __init__(self, log: Log) -> None:
        self.log = log

    async def events_after(self, shard: int, sequence: int, limit: int) -> list[StoredRow]:
        found = self.log[shard][sequence : sequence + limit]
        return [
            StoredRow(decode_envelope(value).owner, number, "", value, shard, number, b"")
            for number, value in enumerate(found, sequence + 1)
        ]


@pytest.fixture
def log() -> Log:
    """Four events in each of two shards."""
    factory = EventFactory(shards=SHARDS)
    names = [customer_in(shard, SHARDS, "scan") for shard in range(SHARDS)]
    for name in names:
        factory.registered(name)
        for _ in range(3):
            factory.credited(name, 1)
    return {shard: [one.value for one in factory.records if one.shard == shard] for shard in range(SHARDS)}


async def scanned(topic: Log, store: Log, known: dict[int, tuple[int, int]]) -> tuple[Any, set[int]]:
    """(published, offset) by shard, and the shards that diverged. `known`: the same before."""
    return await scanned_in(Topic(topic), store, known)


async def scanned_in(topic: Topic, store: Log, known: dict[int, tuple[int, int]]) -> tuple[Any, set[int]]:
    shards = {shard: Published(shard, len(store[shard]), *known[shard]) for shard in known}
    scan = Scan(cast(Broker, topic), cast(Store, Stored(store)))
    diverged = await scan.advance(shards)
    return {shard: (one.published, one.published_offset) for shard, one in shards.items()}, diverged


NOTHING = dict.fromkeys(range(SHARDS), (0, -1))


async def test_all_that_fits_is_published(log: Log) -> None:
    assert await scanned(log, log, NOTHING) == ({0: (4, 3), 1: (4, 3)}, set())


async def test_a_shard_that_diverged_stops_no_other(log: Log) -> None:
    topic = log | {0: [log[0][0], b"{", *log[0][1:]]}
    assert await scanned(topic, log, NOTHING) == ({0: (1, 0), 1: (4, 3)}, {0})


async def test_what_diverged_is_read_no_further(log: Log) -> None:
    """What comes behind may be long, and all others wait for it."""
    topic = Topic(log | {0: [*log[0], *[log[0][3]] * 1_000]})
    found, diverged = await scanned_in(topic, log | {0: log[0][:2]}, {0: (2, 1), 1: (2, 1)})
    assert (found, diverged) == ({0: (2, 1), 1: (4, 3)}, {0})
    assert topic.read == {0: 2, 1: 3}


async def test_what_is_lost_is_read_from_the_beginning_and_not_to_the_end_before(log: Log) -> None:
    topic = Topic(log | {0: [*log[0], *[log[0][3]] * 1_000]})
    found, diverged = await scanned_in(topic, log, {0: (2, 0), 1: (4, 3)})
    assert (found, diverged) == ({0: (4, 3), 1: (4, 3)}, set())
    assert topic.read == {0: 1 + 1_004, 1: 1}


async def test_reading_on_before_the_known_record_stops_no_other(log: Log) -> None:
    """Of shard 0 the known record comes later than where reading starts: none before it is judged."""
    topic = log | {0: [log[0][0], log[0][0], *log[0][1:]]}
    found, diverged = await scanned(topic, log, {0: (2, 2), 1: (0, -1)})
    assert (found, diverged) == ({0: (4, 4), 1: (4, 3)}, set())


async def test_a_known_record_that_is_gone_is_read_again_and_told(log: Log) -> None:
    topic = log | {0: log[0][:2]}
    with capture_logs() as told:
        assert await scanned(topic, log, {0: (4, 3), 1: (2, 1)}) == ({0: (2, 1), 1: (4, 3)}, set())
    action = "reading them from the beginning"
    assert told == [{"event": "topic_lost_events", "shards": [0], "action": action, "log_level": "error"}]


async def test_what_is_found_again_is_not_lost(log: Log) -> None:
    with capture_logs() as told:
        assert await scanned(log, log, {0: (2, 1), 1: (4, 3)}) == ({0: (4, 3), 1: (4, 3)}, set())
    assert not told


async def test_one_may_diverge_while_another_is_lost(log: Log) -> None:
    topic = {0: log[0][:2], 1: [*log[1][:2], b"{"]}
    found, diverged = await scanned(topic, log, {0: (4, 3), 1: (2, 1)})
    assert (found, diverged) == ({0: (2, 1), 1: (2, 1)}, {1})


async def test_more_than_the_store_has_diverged(log: Log) -> None:
    store = log | {0: log[0][:3]}
    assert await scanned(log, store, NOTHING) == ({0: (3, 2), 1: (4, 3)}, {0})


async def test_another_record_where_the_known_one_was_is_not_it_and_stops_no_other(log: Log) -> None:
    """Somebody took a record out of shard 0: what follows it stands where it stood."""
    topic = log | {0: [log[0][0], *log[0][2:]]}
    with capture_logs() as told:
        found, diverged = await scanned(topic, log, {0: (2, 1), 1: (2, 1)})
    assert (found[1], diverged) == ((4, 3), {0})
    assert [one["shards"] for one in told] == [[0]]
