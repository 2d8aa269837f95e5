"""What waits between Kafka and a batch: every shard has its turn, and no log grows into memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.inbox import INBOX_BYTES, Inbox
from services.ledger.ports import CommandRecord

BATCH = 500


def records(shard: int, count: int, first: int = 0, size: int = 600) -> list[CommandRecord]:
    return [CommandRecord(shard, offset, bytes(size)) for offset in range(first, first + count)]


def test_a_few_commands_come_with_the_next_batch_whatever_waits_in_another_shard() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 50_000))
    assert inbox.take(BATCH) == records(0, BATCH)
    inbox.put(7, records(7, 3))
    taken = inbox.take(BATCH)
    assert taken[:3] == records(7, 3)
    assert taken[3:] == records(0, BATCH - 3, first=BATCH)


def test_busy_shards_take_turns_in_long_runs() -> None:
    inbox = Inbox()
    for shard in range(4):
        inbox.put(shard, records(shard, 2_000))
    assert [{record.shard for record in inbox.take(BATCH)} for _ in range(8)] == [{0}, {1}, {2}, {3}] * 2


def test_many_quiet_shards_leave_a_busy_one_its_part() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 2_000))
    for shard in range(1, 32):
        inbox.put(shard, records(shard, 15))
    counts = Counter(record.shard for record in inbox.take(BATCH))
    assert counts == {0: BATCH - 31 * 15} | dict.fromkeys(range(1, 32), 15)


def test_more_shards_than_a_batch_holds_take_turns() -> None:
    inbox = Inbox()
    for shard in range(7):
        inbox.put(shard, records(shard, 2))
    seen = [record.shard for _ in range(4) for record in inbox.take(2)]
    assert sorted(seen) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_more_is_wanted_of_those_with_little_waiting() -> None:
    inbox = Inbox()
    assert inbox.wants(0)
    inbox.put(0, records(0, INBOX_BYTES // 1_000))
    assert not inbox.wants(0)
    assert inbox.wants(1)
    while not inbox.wants(0):
        inbox.take(BATCH)
    assert 0 < len(inbox) < INBOX_BYTES // 1_000


def test_large_commands_count_by_their_bytes() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 3, size=INBOX_BYTES // 3))
    assert not inbox.wants(0)
    inbox.clear()
    assert inbox.wants(0)
    assert (len(inbox), inbox.take(BATCH)) == (0, [])


def test_bulk_records_count_for_what_they_hold_and_delay_no_other_shard() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 100, size=32_000))  # 200 entries each
    assert len(inbox.take(BATCH)) == 2
    inbox.put(7, records(7, 3))
    taken = inbox.take(BATCH)
    assert [(one.shard, one.offset) for one in taken] == [(7, 0), (7, 1), (7, 2), (0, 2), (0, 3)]


def test_a_bulk_record_without_room_keeps_its_turn() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 100))
    inbox.put(1, records(1, 1, size=72_000))  # 450 entries
    inbox.put(2, records(2, 1_000))
    assert inbox.take(BATCH) == records(0, 100)
    assert [one.shard for one in inbox.take(BATCH)] == [1] + [2] * 50


def test_a_record_larger_than_a_batch_is_taken_alone() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 2, size=160_000))
    inbox.put(1, records(1, 1, size=160_000))
    assert [len(inbox.take(BATCH)) for _ in range(4)] == [1, 1, 1, 0]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.integers(0, 5), st.integers(0, 40)),  # so many more arrive in a shard
            st.integers(1, 30),  # a batch of so many
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_doubled_or_moved_and_nobody_waits_for_ever(
    steps: list[tuple[int, int] | int],
) -> None:
    inbox, arrived, taken = Inbox(), Counter[int](), Counter[int]()
    for step in steps:
        if isinstance(step, tuple):
            shard, count = step
            inbox.put(shard, records(shard, count, first=arrived[shard]))
            arrived[shard] += count
            continue
        waiting = {shard: arrived[shard] - taken[shard] for shard in arrived if arrived[shard] > taken[shard]}
        batch = inbox.take(step)
        assert len(batch) == min(step, sum(waiting.values()))
        for record in batch:
            assert record.offset == taken[record.shard]
            taken[record.shard] += 1
        for shard, count in waiting.items():
            if count <= step // len(waiting):
                assert taken[shard] == arrived[shard]
    while batch := inbox.take(7):
        taken.update(record.shard for record in batch)
    assert +taken == +arrived
    assert len(inbox) == 0
