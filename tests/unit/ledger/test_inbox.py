"""What waits between Kafka and a batch: every shard has its turn, and no log grows into memory."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.batches.inbox import ENTRY_BYTES, INBOX_BYTES, LARGE_BYTES, Inbox
from services.ledger.ports import CommandRecord

BATCH = 500
SHARDS = 6


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


def test_a_record_larger_than_a_batch_waits_for_one_batch_of_those_that_never_pause() -> None:
    inbox = Inbox()
    inbox.put(0, records(0, 2, size=160_000))
    found = []
    for number in range(4):
        inbox.put(1, records(1, 1, first=number))
        found.append([(one.shard, one.offset) for one in inbox.take(BATCH)])
    assert found == [[(1, 0)], [(0, 0)], [(1, 1), (1, 2)], [(0, 1)]]


def test_where_several_are_busy_a_few_commands_come_with_the_next_batch_all_the_same() -> None:
    """Who finds the batch full waits for a turn, and jumps no queue."""
    inbox = Inbox()
    for shard in range(3):
        inbox.put(shard, records(shard, 2_000))
    for number in range(6):
        inbox.put(7, records(7, 1, first=number))
        assert [one.offset for one in inbox.take(BATCH) if one.shard == 7] == [number]


def commands(waiting: Sequence[CommandRecord]) -> int:
    sizes = [len(record.value) for record in waiting]
    return sum(1 if size < LARGE_BYTES else size // ENTRY_BYTES for size in sizes)


SHARD = st.integers(0, SHARDS - 1)
SIZE = st.just(600) | st.integers(LARGE_BYTES, 60 * ENTRY_BYTES)
ARRIVING = st.lists(st.tuples(SHARD, st.integers(0, 40), SIZE), max_size=3)
"""So many records of a shard, of so many bytes each: some are more than a batch."""


@given(
    steady=st.sets(SHARD, max_size=3), steps=st.lists(st.tuples(ARRIVING, st.integers(1, 30)), max_size=40)
)
def test_nothing_is_lost_doubled_or_moved_and_nobody_waits_for_ever(
    steady: set[int], steps: list[tuple[list[tuple[int, int, int]], int]]
) -> None:
    """Before each batch one more of the `steady` ones arrives."""
    inbox, waiting = Inbox(), {shard: list[CommandRecord]() for shard in range(SHARDS)}
    arrived, passed_over, delayed = Counter[int](), Counter[int](), set[int]()
    for arriving, room in [*steps, *[([], 10)] * 3 * SHARDS]:
        for shard, count, size in [*arriving, *((shard, 1, 600) for shard in steady)]:
            inbox.put(shard, new := records(shard, count, first=arrived[shard], size=size))
            waiting[shard] += new
            arrived[shard] += count
        quota = room // max(1, sum(map(bool, waiting.values())))
        little = {shard for shard, own in waiting.items() if commands(own) <= quota}
        batch = inbox.take(room)
        assert commands(batch) <= room or len(batch) == 1
        if (total := sum(map(commands, waiting.values()))) == sum(map(len, waiting.values())):
            assert len(batch) == min(room, total)
        for shard, own in waiting.items():
            taken = [record for record in batch if record.shard == shard]
            assert own[: len(taken)] == taken
            passed_over[shard] = passed_over[shard] + 1 if own and not taken else 0
            del own[: len(taken)]
        assert max(passed_over.values()) < 3 * SHARDS
        late = {shard for shard in little if waiting[shard]}
        assert not late & delayed
        delayed = late
    while batch := inbox.take(7):
        for record in batch:
            assert record == waiting[record.shard].pop(0)
    assert not any(waiting.values())
    assert len(inbox) == 0
