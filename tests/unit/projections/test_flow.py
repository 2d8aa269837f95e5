"""The bounded inbox and the measure of lag."""

import asyncio

from services.inbox import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BYTES_MAX, RECORDS_MAX, Inbox
from services.projections.lag import SAMPLES_MAX, Lag
from services.reading import Record


def records(count: int, first: int = 0, size: int = 1) -> list[Record]:
    return [Record(0, first + number, b"x" * size) for number in range(count)]


async def test_a_batch_is_what_has_arrived() -> None:
    inbox = Inbox()
    await inbox.put(records(2))
    await inbox.put(records(1, first=2))
    assert await inbox.take() == records(3)


async def test_taking_waits_for_the_first_record_only() -> None:
    inbox = Inbox()
    taking = asyncio.ensure_future(inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await inbox.put(records(1))
    assert await taking == records(1)


async def test_a_batch_is_limited_in_records_and_bytes() -> None:
    inbox = Inbox()
    await inbox.put(records(BATCH_RECORDS_MAX + 1))
    assert len(await inbox.take()) == BATCH_RECORDS_MAX
    assert len(await inbox.take()) == 1
    await inbox.put(records(5, size=BATCH_BYTES_MAX // 2))
    assert len(await inbox.take()) == 2


async def test_a_full_inbox_holds_the_giver_back_until_something_is_taken() -> None:
    inbox = Inbox()
    await inbox.put(records(RECORDS_MAX))
    giving = asyncio.ensure_future(inbox.put(records(1, first=RECORDS_MAX)))
    await asyncio.sleep(0)
    assert not giving.done()
    taken = await inbox.take()
    await giving
    while len(taken) <= RECORDS_MAX:
        taken += await inbox.take()
    assert taken == records(RECORDS_MAX + 1)


async def test_a_backlog_of_large_records_stays_bounded_however_it_is_taken() -> None:
    """What is taken at once may be less than what is given at once."""
    inbox, bundle = Inbox(), records(1_000, size=4_096)
    given = taken = most = 0

    async def give() -> None:
        nonlocal given
        while True:
            await inbox.put(bundle)
            given += len(bundle)

    giving = asyncio.ensure_future(give())
    for _ in range(100):
        await asyncio.sleep(0)
        most = max(most, given - taken)
        taken += len(await inbox.take())
    giving.cancel()
    assert most * 4_096 < BYTES_MAX + len(bundle) * 4_096
    assert given > 50 * BATCH_BYTES_MAX // 4_096, "it goes on as soon as there is room"


def test_lag_counts_records_and_the_time_since_they_were_seen() -> None:
    lag = Lag()
    lag.restart({0: 10, 1: 5})
    lag.observe(100.0, {0: 10, 1: 7})
    assert (lag.records(), lag.seconds(103.0)) == ({1: 2}, 3.0)
    lag.applied({1: 7})
    lag.applied({1: 6})  # a record that came again
    lag.observe(104.0, {0: 12, 1: 7})
    assert (lag.records(), lag.seconds(104.5)) == ({0: 2}, 0.5)


def test_under_steady_load_lag_is_not_the_time_since_the_last_idle_moment() -> None:
    lag = Lag()
    for second in range(100):
        lag.applied({0: second * 10})
        lag.observe(float(second), {0: second * 10 + 1})
    assert lag.seconds(99.0) <= 1.0


def test_a_shard_that_never_moves_keeps_its_first_moment_in_bounded_memory() -> None:
    lag = Lag()
    for second in range(2 * SAMPLES_MAX):
        lag.observe(float(second), {0: second + 1})
    assert lag.seconds(2.0 * SAMPLES_MAX) == 2.0 * SAMPLES_MAX
    lag.applied({0: 2 * SAMPLES_MAX})
    lag.observe(2.0 * SAMPLES_MAX, {0: 2 * SAMPLES_MAX})
    assert lag.seconds(2.0 * SAMPLES_MAX) == 0.0


def test_lag_forgets_shards_that_went_to_another_process() -> None:
    lag = Lag()
    lag.observe(1.0, {0: 5, 1: 5})
    lag.observe(1.5, {1: 5}, silent=[0])
    assert (lag.records()[0], lag.seconds(61.0)) == (5, 60.0), "nobody says its end: it is still behind"
    lag.observe(2.0, {1: 5})
    assert lag.records() == {1: 5}
    assert lag.records(without=[1]) == {}
