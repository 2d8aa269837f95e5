"""What the worker relies on in a broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from events.topics import REPLIES_PARTITIONS
from services.ledger.ports import Broker, CommandRecord, StoredRow
from tests.contract.brokers import BrokerLab

NOBODY = UUID(int=0)


@pytest.fixture
async def broker(broker_lab: BrokerLab) -> AsyncIterator[Broker]:
    client = broker_lab.client()
    await client.open()
    yield client
    await client.close()


def rows(shard: int, *values: bytes, first: int = 1) -> list[StoredRow]:
    return [
        StoredRow(NOBODY, number, "t", value, shard, number, b"cus_%d" % number)
        for number, value in enumerate(values, start=first)
    ]


async def fetched(broker: Broker, count: int, records_max: int = 500) -> list[CommandRecord]:
    """The next so many records, and nothing behind them."""
    found: list[CommandRecord] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            batch = await broker.fetch(0.2, records_max)
            assert len(batch) <= records_max
            found += batch
    assert len(found) == count
    return found


async def scanned(broker: Broker, **offsets: int) -> list[tuple[int, int, bytes]]:
    """Records of `ledger.events` from offsets, by `s<shard>=offset`."""
    starts = {int(name[1:]): offset for name, offset in offsets.items()}
    return [record async for record in broker.events_from(starts)]


# --- commands ---


async def test_records_come_in_order_from_where_reading_was_assigned(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard = broker_lab.shard()
    first = await broker_lab.send(shard, *(b"%d" % number for number in range(10)))
    broker.assign({shard: first + 4})
    found = await fetched(broker, 6)
    assert found == [CommandRecord(shard, first + number, b"%d" % number) for number in range(4, 10)]
    await broker_lab.send(shard, b"later")
    assert await fetched(broker, 1) == [CommandRecord(shard, first + 10, b"later")]


async def test_a_fetch_without_records_is_empty_after_its_time(broker_lab: BrokerLab, broker: Broker) -> None:
    assert await broker.fetch(0.05, 10) == []
    broker.assign({broker_lab.shard(): 0})
    assert await broker.fetch(0.05, 10) == []


async def test_a_fetch_returns_as_soon_as_something_arrives(broker_lab: BrokerLab, broker: Broker) -> None:
    shard = broker_lab.shard()
    broker.assign({shard: 0})
    waiting = asyncio.create_task(broker.fetch(30, 10))
    await asyncio.sleep(0.05)
    await broker_lab.send(shard, b"x")
    assert await asyncio.wait_for(waiting, 10) == [CommandRecord(shard, 0, b"x")]


async def test_a_fetch_is_bounded(broker_lab: BrokerLab, broker: Broker) -> None:
    one, other = broker_lab.shard(), broker_lab.shard()
    for shard in (one, other):
        await broker_lab.send(shard, *(b"%d" % number for number in range(20)))
    broker.assign({one: 0, other: 0})
    found = await fetched(broker, 40, records_max=7)
    for shard in (one, other):
        offsets = [record.offset for record in found if record.shard == shard]
        assert offsets == list(range(20))


async def test_a_quiet_shard_does_not_wait_for_a_busy_one(broker_lab: BrokerLab, broker: Broker) -> None:
    """Its command comes in one of the next batches, and the busy one fills the rest of each."""
    busy, quiet = broker_lab.shard(), broker_lab.shard()
    await broker_lab.send(busy, *(b"%0600d" % number for number in range(30_000)))
    broker.assign({busy: 0, quiet: 0})
    first = await broker.fetch(5, 500)
    await broker_lab.send(quiet, b"x")
    found: list[CommandRecord] = []
    for _ in range(3):
        await asyncio.sleep(0.05)  # a batch is decided and committed
        found += await broker.fetch(5, 500)
    assert [record.value for record in found if record.shard == quiet] == [b"x"]
    own = [record.offset for record in first + found if record.shard == busy]
    assert own == list(range(len(own)))
    assert len(own) > 1_000


async def test_what_was_fetched_and_not_taken_is_read_again_after_assigning(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard = broker_lab.shard()
    await broker_lab.send(shard, *(b"%d" % number for number in range(20)))
    broker.assign({shard: 0})
    assert len(await broker.fetch(5, 3)) == 3
    broker.assign({shard: 3})
    assert [record.offset for record in await fetched(broker, 17)] == list(range(3, 20))


async def test_only_what_is_assigned_is_read_and_assigning_again_replaces(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    one, other = broker_lab.shard(), broker_lab.shard()
    await broker_lab.send(one, b"a", b"b")
    await broker_lab.send(other, b"c")
    broker.assign({one: 0})
    assert [record.value for record in await fetched(broker, 2)] == [b"a", b"b"]
    broker.assign({other: 0, one: 1})
    assert sorted(record.value for record in await fetched(broker, 2)) == [b"b", b"c"]
    broker.assign({other: 1})
    await broker_lab.send(one, b"d")
    await broker_lab.send(other, b"e")
    assert [record.value for record in await fetched(broker, 1)] == [b"e"]
    assert await broker.fetch(0.1, 10) == []


async def test_an_offset_that_the_log_does_not_have_is_an_error_and_no_silent_reset(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard = broker_lab.shard()
    await broker_lab.send(shard, b"a", b"b", b"c")
    await broker_lab.forget_commands(shard, 2)
    for offset in (0, 9):
        broker.assign({shard: offset})
        with pytest.raises(broker_lab.out_of_range):
            await fetched(broker, 1)
    broker.assign({shard: 2})
    assert [record.value for record in await fetched(broker, 1)] == [b"c"]


async def test_a_single_record_is_found_at_its_offset_or_not_at_all(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard, empty = broker_lab.shard(), broker_lab.shard()
    await broker_lab.send(shard, b"a", b"b", b"c")
    assert await broker.commands_at({}) == {}
    assert await broker.commands_at({shard: 1, empty: 0}) == {shard: b"b"}
    assert await broker.commands_at({shard: 3}) == {}
    await broker_lab.forget_commands(shard, 2)
    assert await broker.commands_at({shard: 1}) == {}
    assert await broker.commands_at({shard: 2}) == {shard: b"c"}


async def test_while_every_partition_has_a_leader_none_is_without(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    assert await broker.leaderless([broker_lab.shard(), broker_lab.shard()]) == set()
    assert await broker.leaderless([]) == set()


async def test_a_log_says_where_it_begins(broker_lab: BrokerLab, broker: Broker) -> None:
    shard, empty = broker_lab.shard(), broker_lab.shard()
    await broker_lab.send(shard, b"a", b"b", b"c")
    await broker_lab.forget_commands(shard, 2)
    assert await broker.commands_begin([shard, empty]) == {shard: 2, empty: 0}
    assert await broker.commands_begin([]) == {}


# --- events ---


async def test_events_are_appended_together_and_their_first_offset_is_told(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard = broker_lab.shard()
    assert await broker.publish(shard, rows(shard, b"a", b"b", b"c")) == 0
    assert await broker.publish(shard, rows(shard, b"d", first=4)) == 3
    expected = [(b"cus_1", b"a"), (b"cus_2", b"b"), (b"cus_3", b"c"), (b"cus_4", b"d")]
    assert await broker_lab.events(shard, 4) == expected


async def test_many_large_events_fit_one_batch(broker_lab: BrokerLab, broker: Broker) -> None:
    """As many as the relay puts together: 768 KiB of bytes, or one event of the greatest size."""
    shard = broker_lab.shard()
    values = [secrets.token_bytes(250_000) for _ in range(3)]
    assert await broker.publish(shard, rows(shard, *values)) == 0
    assert await broker.publish(shard, rows(shard, *[b"x" * 900] * 500, first=4)) == 3
    assert [value for _, value in (await broker_lab.events(shard, 3))] == values


async def test_a_new_publisher_goes_on_where_the_old_one_was_thrown_away(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    shard = broker_lab.shard()
    await broker.publish(shard, rows(shard, b"a"))
    for _ in range(2):
        await broker.renew_publisher()
    assert await broker.publish(shard, rows(shard, b"b", first=2)) == 1
    assert [value for _, value in await broker_lab.events(shard, 2)] == [b"a", b"b"]


async def test_a_scan_reads_from_the_offsets_to_the_ends(broker_lab: BrokerLab, broker: Broker) -> None:
    one, other, empty = broker_lab.shard(), broker_lab.shard(), broker_lab.shard()
    await broker_lab.append(one, b"a", b"b", b"c")
    await broker_lab.append(other, b"d", b"e")
    found = await scanned(broker, **{f"s{one}": 1, f"s{other}": 0, f"s{empty}": 0})
    assert [record for record in found if record[0] == one] == [(one, 1, b"b"), (one, 2, b"c")]
    assert [record for record in found if record[0] == other] == [(other, 0, b"d"), (other, 1, b"e")]
    assert len(found) == 4


async def test_a_scan_from_the_end_is_empty(broker_lab: BrokerLab, broker: Broker) -> None:
    shard = broker_lab.shard()
    await broker_lab.append(shard, b"a", b"b")
    assert await scanned(broker, **{f"s{shard}": 2}) == []
    assert await scanned(broker) == []


async def test_a_scan_from_beyond_the_end_begins_at_the_beginning(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    """The topic lost its tail: all that is left is looked at."""
    shard = broker_lab.shard()
    await broker_lab.append(shard, b"a", b"b")
    assert await scanned(broker, **{f"s{shard}": 7}) == [(shard, 0, b"a"), (shard, 1, b"b")]


async def test_a_scan_reads_long_logs_whole(broker_lab: BrokerLab, broker: Broker) -> None:
    shard = broker_lab.shard()
    values = [secrets.token_bytes(2_000) for _ in range(1_500)]
    for start in range(0, 1_500, 300):
        await broker.publish(shard, rows(shard, *values[start : start + 300], first=start + 1))
    found = await scanned(broker, **{f"s{shard}": 3})
    assert [(offset, value) for _, offset, value in found] == list(enumerate(values))[3:]


async def test_a_scan_reads_no_more_of_what_nobody_wants_and_the_others_whole(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    long, other = broker_lab.shard(), broker_lab.shard()
    values = [secrets.token_bytes(2_000) for _ in range(1_500)]
    for shard in (long, other):
        for start in range(0, 1_500, 300):
            await broker.publish(shard, rows(shard, *values[start : start + 300], first=start + 1))
    unwanted: set[int] = set()
    found: dict[int, list[int]] = {long: [], other: []}
    async for shard, offset, _ in broker.events_from({long: 0, other: 0}, unwanted):
        found[shard].append(offset)
        if (shard, offset) == (long, 2):
            unwanted.add(long)
    assert found == {long: [0, 1, 2], other: list(range(1_500))}


# --- replies and dead letters ---


async def test_replies_arrive_where_they_were_sent_in_order(broker_lab: BrokerLab, broker: Broker) -> None:
    mark = secrets.token_bytes(4)
    sent = [mark + b"%d" % number for number in range(300)]
    for value in sent:
        broker.reply(5, value)
    found = await broker_lab.replies(5, sent[-1])
    assert [value for value in found if value.startswith(mark)] == sent


@pytest.mark.parametrize("partition", [REPLIES_PARTITIONS, 9_999])
async def test_a_reply_to_nowhere_is_dropped_alone(
    broker_lab: BrokerLab, broker: Broker, partition: int
) -> None:
    mark = secrets.token_bytes(4)
    broker.reply(partition, b"lost")
    broker.reply(2, mark)
    assert mark in await broker_lab.replies(2, mark)


async def test_a_dead_letter_is_there_when_the_call_returns(broker_lab: BrokerLab, broker: Broker) -> None:
    mark = secrets.token_hex(4).encode()
    await broker.dead_letter(mark, b"why")
    assert (mark, b"why") in await broker_lab.dead_letters(mark)


async def test_a_dead_letter_may_hold_the_largest_record_in_base64(
    broker_lab: BrokerLab, broker: Broker
) -> None:
    mark = secrets.token_hex(4).encode()
    value = secrets.token_bytes(1_450_000)
    await broker.dead_letter(mark, value)
    assert (mark, value) in await broker_lab.dead_letters(mark)


# --- opening and closing ---


async def test_a_client_can_be_closed_and_opened_again(broker_lab: BrokerLab) -> None:
    shard = broker_lab.shard()
    await broker_lab.send(shard, b"a")
    client = broker_lab.client()
    for _ in range(2):
        await client.open()
        client.assign({shard: 0})
        assert [record.value for record in await fetched(client, 1)] == [b"a"]
        await client.close()


async def test_two_clients_do_not_share_what_they_read(broker_lab: BrokerLab, broker: Broker) -> None:
    shard = broker_lab.shard()
    await broker_lab.send(shard, b"a", b"b")
    other = broker_lab.client()
    await other.open()
    for client in (broker, other):
        client.assign({shard: 0})
        assert len(await fetched(client, 2)) == 2
    await other.close()
