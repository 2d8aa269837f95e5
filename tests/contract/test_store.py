"""What the worker relies on in a store."""

from typing import NamedTuple
from uuid import UUID, uuid5

import pytest
from msgspec.structs import replace

from events.codec import digest, genesis
from services.ledger.ports import (
    Attempt,
    AttemptRow,
    Commit,
    KnownKey,
    OwnershipLost,
    ShardRow,
    Store,
    StoredRow,
    Unstorable,
)
from services.ledger.receipts import Receipt, ReceiptKey, ReceiptRow
from tests.contract.stores import SHARDS, StoreLab
from tests.factories import EventFactory

EVERY = list(range(SHARDS))
NOBODY = UUID(int=0)
NOW = 1_790_000_000_000_000


class Written(NamedTuple):
    """A transaction, and what it says."""

    commit: Commit
    rows: list[ShardRow]


def transaction(*rows: ShardRow, count: int = 1, mark: str = "a", attempt: int | None = None) -> Written:
    """`count` events with their receipts in each shard, from these rows."""
    after, events, receipts, attempts = [], [], [], []
    for row in rows:
        stream = uuid5(NOBODY, f"{mark} {row.shard}")
        for number in range(1, count + 1):
            sequence = row.sequence + number
            value = event(row.shard, sequence)
            key = digest(f"{mark} {row.shard} {sequence}".encode())
            events.append(StoredRow(stream, number, "wallet.x.v1", value, row.shard, sequence, b"cus_a"))
            receipts.append(ReceiptRow(stream, "api", key, "1:ab", row.shard, sequence, f"c{sequence}", 7))
            if attempt is not None:
                attempts.append(AttemptRow(row.shard, sequence, stream, "1:ab", attempt, NOW))
        after.append(advanced(row, count))
    return Written(Commit(rows, after, events, receipts, attempts), after)


def advanced(row: ShardRow, count: int = 1) -> ShardRow:
    sequence = row.sequence + count
    return replace(
        row,
        position=row.position + 10,
        position_command_id=f"c{sequence}",
        sequence=sequence,
        head=digest(event(row.shard, sequence)),
        last_time=NOW + sequence,
    )


def event(shard: int, sequence: int) -> bytes:
    """A stored event: the store reads its customer for publishing and takes everything else as bytes."""
    factory = EventFactory(f"contract {shard} {sequence}", shards=1)
    return factory.registered("cus_a").value


async def opened(lab: StoreLab, *shards: int) -> tuple[Store, list[ShardRow]]:
    store = lab.session()
    await store.open()
    return store, sorted(await store.claim(shards or EVERY), key=lambda row: row.shard)


# --- electing ---


async def test_a_new_shard_begins_before_its_first_command_and_event(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    assert [(row.shard, row.epoch, row.position, row.sequence) for row in rows] == [
        (shard, 1, -1, 0) for shard in EVERY
    ]
    for row in rows:
        assert (row.published_sequence, row.published_offset, row.last_time) == (0, -1, 0)
        assert len(row.head) == len(genesis("x", row.shard))
    await store.close()


async def test_a_shard_has_one_owner(store_lab: StoreLab) -> None:
    one, _ = await opened(store_lab, 0, 1)
    other, rows = await opened(store_lab)
    assert [row.shard for row in rows] == [2, 3]
    assert await one.claim([2, 3]) == []
    await one.close()
    assert [row.shard for row in await other.claim([0])] == [0]
    await other.close()


async def test_a_closed_session_gives_everything_up_and_may_be_opened_again(store_lab: StoreLab) -> None:
    store, _ = await opened(store_lab)
    await store.close()
    with pytest.raises(store_lab.lost):
        await store.claim(EVERY)
    await store.open()
    assert {row.epoch for row in await store.claim(EVERY)} == {2}
    await store.close()


async def test_a_session_that_the_server_ends_is_an_error_and_its_shards_are_free(
    store_lab: StoreLab,
) -> None:
    one, rows = await opened(store_lab)
    await store_lab.end_sessions()
    other, taken = await opened(store_lab)
    assert [row.epoch for row in taken] == [2] * SHARDS
    with pytest.raises(store_lab.lost):
        await one.commit(transaction(rows[0]).commit)
    assert await store_lab.counts() == (0, 0, 0)
    await other.close()
    await one.close()


async def test_a_shard_that_moved_away_is_not_claimed_nor_locked(store_lab: StoreLab) -> None:
    await store_lab.move(2)
    store, rows = await opened(store_lab)
    assert [row.shard for row in rows] == [0, 1, 3]
    assert await store.claim([2]) == []
    await store.close()


# --- the fence ---


async def test_a_commit_moves_its_rows_and_keeps_their_epoch(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    first = transaction(rows[1], rows[3], count=3)
    await store.commit(first.commit)
    assert [row for row in await store_lab.rows() if row.sequence] == first.rows
    second = transaction(*first.rows, mark="b")
    await store.commit(second.commit)
    assert [row for row in await store_lab.rows() if row.sequence] == second.rows
    assert await store_lab.counts() == (8, 8, 0)
    await store.close()


async def test_a_commit_without_events_moves_the_position(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    after = replace(rows[0], position=41, position_command_id="sha256:ab")
    await store.commit(Commit([rows[0]], [after], [], [], []))
    assert (await store_lab.rows())[0] == after
    await store.close()


@pytest.mark.parametrize(
    "stale",
    [{"epoch": 0}, {"epoch": 2}, {"position": 3}, {"sequence": 5}, {"head": bytes(32)}],
    ids=lambda stale: next(iter(stale)),
)
async def test_a_row_that_moved_in_any_way_loses_the_whole_commit(
    store_lab: StoreLab, stale: dict[str, object]
) -> None:
    store, rows = await opened(store_lab)
    before = await store_lab.rows()
    written = transaction(rows[0], rows[2]).commit
    with pytest.raises(OwnershipLost):
        await store.commit(written._replace(before=[rows[0], replace(rows[2], **stale)]))
    assert await store_lab.rows() == before
    assert await store_lab.counts() == (0, 0, 0)
    await store.close()


async def test_a_shard_that_moved_away_meanwhile_loses_the_commit(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    await store_lab.move(0)
    with pytest.raises(OwnershipLost):
        await store.commit(transaction(rows[0]).commit)
    await store.close()


async def test_whoever_released_a_shard_cannot_write_it_after_the_next_owner(store_lab: StoreLab) -> None:
    """Also when the next owner has written nothing yet: the epoch alone says so."""
    one, rows = await opened(store_lab)
    await one.release(rows)
    other, _ = await opened(store_lab)
    with pytest.raises(OwnershipLost):
        await one.commit(Commit([rows[0]], [replace(rows[0], position=0)], [], [], []))
    with pytest.raises(OwnershipLost):
        await one.commit(transaction(rows[0]).commit)
    await one.close()
    await other.close()


async def test_whoever_released_a_shard_and_claims_it_again_needs_the_new_epoch(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    await store.release(rows)
    [again] = await store.claim([0])
    with pytest.raises(OwnershipLost):
        await store.commit(transaction(rows[0]).commit)
    await store.commit(transaction(again).commit)
    await store.close()


# --- what is refused ---


async def test_a_place_in_a_stream_or_shard_is_taken_once(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    first = transaction(rows[0])
    await store.commit(first.commit)
    for again in (
        transaction(first.rows[0]).commit,  # same stream and version
        transaction(first.rows[0], mark="b").commit._replace(events=_at(first.commit.events[0], mark="b")),
    ):
        with pytest.raises(store_lab.conflict):
            await store.commit(again)
        assert await store_lab.counts() == (1, 1, 0)
        assert (await store_lab.rows())[0] == first.rows[0]
    await store.close()


def _at(event: StoredRow, mark: str) -> list[StoredRow]:
    """The same place in its shard for another stream."""
    return [event._replace(stream=uuid5(NOBODY, mark))]


async def test_a_known_key_is_rolled_back_and_the_session_goes_on(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    first = transaction(rows[0])
    await store.commit(first.commit)
    again = transaction(first.rows[0], rows[1], mark="b").commit
    [known] = first.commit.receipts
    with pytest.raises(KnownKey):
        await store.commit(again._replace(receipts=[known, again.receipts[1]]))
    assert await store_lab.counts() == (1, 1, 0)
    await store.commit(again)
    assert await store_lab.counts() == (3, 3, 0)
    await store.close()


async def test_what_cannot_be_stored_is_rolled_back_and_the_session_goes_on(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=2).commit
    bad = [*written.events[:3], written.events[3]._replace(type="wallet.\x00.v1")]
    for _ in range(3):
        with pytest.raises(Unstorable):
            await store.commit(written._replace(events=bad))
        assert await store_lab.counts() == (0, 0, 0)
    await store.commit(written)
    assert await store_lab.counts() == (4, 4, 0)
    await store.close()


# --- reading ---


async def test_events_of_a_shard_come_in_order_and_in_runs(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=5).commit
    await store.commit(written)
    own = [row for row in written.events if row.shard == 0]
    assert await store.events_after(0, 0, 100) == own
    assert await store.events_after(0, 2, 2) == own[2:4]
    assert await store.events_after(0, 5, 100) == []
    assert await store.events_after(2, 0, 100) == []
    await store.close()


async def test_histories_are_whole_and_in_order(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=4).commit
    await store.commit(written)
    one, other = written.events[0].stream, written.events[4].stream
    loaded = await store.load([one, other, NOBODY], [], [], 0)
    assert dict(loaded.histories) == {
        one: [row.value for row in written.events[:4]],
        other: [row.value for row in written.events[4:]],
    }
    assert (dict(loaded.receipts), dict(loaded.attempts)) == ({}, {})
    await store.close()


async def test_receipts_come_with_their_events(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=2).commit
    await store.commit(written)
    keys = [ReceiptKey(*row[:3]) for row in written.receipts]
    strangers = [
        keys[0]._replace(origin="intake"),
        keys[0]._replace(stream=NOBODY),
        keys[0]._replace(key_hash=b""),
    ]
    loaded = await store.load([], [*keys[1:], *strangers], [], 0)
    assert dict(loaded.receipts) == {
        key: Receipt(row.request_hash, row.shard, row.sequence, stored.value)
        for key, row, stored in zip(keys[1:], written.receipts[1:], written.events[1:], strict=True)
    }
    await store.close()


async def test_keyless_attempts_are_found_by_their_print_while_they_are_young(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=2, attempt=0).commit
    await store.commit(written)
    tried = Attempt(written.attempts[0].stream, "1:ab", 0)
    found = [
        Receipt("1:ab", 0, sequence, stored.value)
        for sequence, stored in zip((1, 2), written.events, strict=True)
    ]
    others = [tried._replace(attempt=1), tried._replace(request_hash="1:cd"), tried._replace(stream=NOBODY)]
    assert dict((await store.load([], [], [tried, *others], NOW)).attempts) == {tried: found}
    assert dict((await store.load([], [], [tried], NOW + 1)).attempts) == {}
    await store.close()


async def test_an_attempt_that_was_matched_is_found_as_the_next_one(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=2, attempt=0)
    await store.commit(written.commit)
    matched = written.commit.attempts[0]._replace(attempt=1, recorded=NOW + 5)
    after = replace(written.rows[0], position=99)
    await store.commit(Commit(written.rows, [after], [], [], [matched]))
    first = Attempt(matched.stream, "1:ab", 0)
    loaded = await store.load([], [], [first, first._replace(attempt=1)], NOW)
    sequences = {key.attempt: [r.sequence for r in found] for key, found in loaded.attempts.items()}
    assert sequences == {0: [2], 1: [1]}
    assert await store_lab.counts() == (2, 2, 2)
    await store.close()


# --- heartbeat and release ---


async def test_a_heartbeat_forgets_old_attempts_and_tells_the_time(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    await store.commit(transaction(rows[0], count=2, attempt=0).commit)
    first = await store.heartbeat([], NOW)
    assert await store_lab.counts() == (2, 2, 2)
    second = await store.heartbeat([], NOW + 1)
    assert await store_lab.counts() == (2, 2, 0)
    assert 0 <= second - first < 60_000_000
    await store.close()


async def test_what_was_published_is_noted_forwards_and_by_the_owner_only(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)

    async def noted(sequence: int, offset: int, epoch: int = 1) -> tuple[int, int]:
        row = replace(rows[0], epoch=epoch, published_sequence=sequence, published_offset=offset)
        await store.heartbeat([row], 0)
        found = (await store_lab.rows())[0]
        return found.published_sequence, found.published_offset

    assert await noted(5, 50) == (5, 50)
    assert await noted(4, 40) == (5, 50)
    assert await noted(9, 90, epoch=0) == (5, 50)
    assert await noted(6, 60) == (6, 60)
    await store.release([replace(rows[0], published_sequence=7, published_offset=70)])
    found = (await store_lab.rows())[0]
    assert (found.published_sequence, found.published_offset) == (7, 70)
    await store.close()


async def test_a_commit_notes_what_was_published(store_lab: StoreLab) -> None:
    """Backwards, too: after the topic lost its tail the owner begins again."""
    store, rows = await opened(store_lab)
    one = replace(rows[0], position=1, published_sequence=5, published_offset=50)
    await store.commit(Commit([rows[0]], [one], [], [], []))
    two = replace(one, position=2, published_sequence=2, published_offset=20)
    await store.commit(Commit([one], [two], [], [], []))
    assert (await store_lab.rows())[0] == two
    await store.close()


async def test_released_shards_are_free_and_the_others_are_kept(store_lab: StoreLab) -> None:
    one, rows = await opened(store_lab)
    await one.release(rows[:2])
    other, taken = await opened(store_lab)
    assert [(row.shard, row.epoch) for row in taken] == [(0, 2), (1, 2)]
    await one.commit(transaction(rows[2]).commit)
    await one.close()
    await other.close()
