"""What the worker relies on in a store: one owner, one fence, all or nothing."""

from uuid import uuid5

import pytest
from msgspec.structs import replace

from events.codec import genesis
from services.ledger.failures import KnownKey, OwnershipLost, Unstorable
from services.ledger.ports import Commit, StoredRow
from tests.contract.stores import SHARDS, StoreLab
from tests.contract.transactions import EVERY, NOBODY, freed, opened, transaction

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
    assert await one.claim([2, 3], 2) == []
    await one.close()
    assert [row.shard for row in await freed(other, 0)] == [0]
    await other.close()


async def test_a_closed_session_gives_everything_up_and_may_be_opened_again(store_lab: StoreLab) -> None:
    store, _ = await opened(store_lab)
    await store.close()
    with pytest.raises(store_lab.lost):
        await store.claim(EVERY, SHARDS)
    await store.open()
    assert {row.epoch for row in await freed(store, *EVERY)} == {2}
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
    await store_lab.move(2, "active")
    other, rows = await opened(store_lab)
    assert [row.shard for row in rows] == [2]
    await store.close()
    await other.close()


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
    [again] = await store.claim([0], 1)
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
