"""What the worker relies on in a store: what it reads, notes and forgets."""

from collections import defaultdict
from uuid import UUID, uuid5

import pytest
from msgspec.structs import replace

from services.ledger.batches.receipts import Receipt
from services.ledger.batches.snapshots import Snapshot
from services.ledger.failures import Damaged
from services.ledger.ports import Attempt, Commit, Tried
from tests.contract.stores import StoreLab
from tests.contract.transactions import NOBODY, NOW, opened, transaction


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


@pytest.mark.parametrize("value", [b"\x00{}", b"{}", None], ids=["no JSON", "no event", "missing"])
async def test_a_damaged_event_is_not_handed_out_and_what_lies_beside_it_is(
    value: bytes | None, store_lab: StoreLab
) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=5).commit
    await store.commit(written)
    await store_lab.damage(0, 3, value)
    for after, limit in ((0, 100), (1, 2), (2, 1)):
        with pytest.raises(Damaged, match="event at sequence 3"):
            await store.events_after(0, after, limit)
    assert await store.events_after(0, 0, 2) == written.events[:2]
    assert await store.events_after(0, 3, 100) == written.events[3:5]
    assert await store.events_after(1, 0, 100) == written.events[5:]
    await store.close()


async def test_histories_are_whole_and_in_order(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=4).commit
    await store.commit(written)
    one, other = written.events[0].stream, written.events[4].stream
    found: dict[UUID, list[tuple[int, bytes]]] = defaultdict(list)

    async def count(limit: int, **starts: int) -> int:
        found.clear()
        streams = {"one": one, "other": other, "nobody": NOBODY}
        wanted = {streams[name]: version for name, version in starts.items()}
        return await store.histories(wanted, limit, lambda stream, *event: found[stream].append(event))

    def stored(first: int, last: int) -> list[tuple[int, bytes]]:
        return [(row.version, row.value) for row in written.events[first:last]]

    assert await count(9, one=1, other=1, nobody=1) == 8
    assert dict(found) == {one: stored(0, 4), other: stored(4, 8)}
    assert await count(9, one=5, other=3) == 2
    assert dict(found) == {other: stored(6, 8)}
    assert await count(3, one=2, nobody=1) == 3
    assert await count(2, one=2, nobody=1) == 2
    assert dict(found) == {one: stored(1, 3)}
    await store.close()


async def test_an_error_while_taking_a_history_is_told_and_the_session_goes_on(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=300)
    await store.commit(written.commit)

    def spoiled(stream: UUID, version: int, value: bytes) -> None:
        raise LookupError(version)

    with pytest.raises(LookupError, match="1"):
        await store.histories({written.commit.events[0].stream: 1}, 1_000, spoiled)
    await store.commit(transaction(*written.rows, mark="b").commit)
    await store.close()


async def test_the_last_snapshot_of_a_stream_is_the_one_that_is_found(store_lab: StoreLab) -> None:
    store, _ = await opened(store_lab)
    streams = [uuid5(NOBODY, f"snapshot {number}") for number in range(3)]
    first = [Snapshot(stream, 200, b"head", b"state of %d" % number) for number, stream in enumerate(streams)]
    await store.keep(first)
    later = first[1]._replace(version=400, head=b"other", state=b"later")
    await store.keep([later])
    loaded = await store.load([*streams[:2], NOBODY], [], [], 0)
    assert dict(loaded.snapshots) == {streams[0]: first[0], streams[1]: later}
    assert (dict(loaded.receipts), dict(loaded.attempts)) == ({}, {})
    await store.close()


async def test_receipts_come_with_their_events(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], rows[1], count=2).commit
    await store.commit(written)
    keys = [row.key for row in written.receipts]
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


async def test_what_points_at_no_event_is_found_all_the_same(store_lab: StoreLab) -> None:
    """It says that something happened, and not what."""
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=2, attempt=0).commit
    await store.commit(written)
    await store_lab.misplace(0, 2)
    keys = [row.key for row in written.receipts]
    tried = Attempt(written.attempts[0].stream, "1:ab", 0)
    loaded = await store.load([], keys, [tried], NOW)
    receipts = [Receipt("1:ab", 0, 1, written.events[0].value), Receipt("1:ab", 0, 999, b"")]
    assert [loaded.receipts[key] for key in keys] == receipts
    assert dict(loaded.attempts) == {tried: [Tried("c1", receipts[0]), Tried("c2", receipts[1])]}
    await store.close()


async def test_keyless_attempts_are_found_by_their_print_while_they_are_young(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=2, attempt=0).commit
    await store.commit(written)
    tried = Attempt(written.attempts[0].stream, "1:ab", 0)
    found = [
        Tried(f"c{sequence}", Receipt("1:ab", 0, sequence, stored.value))
        for sequence, stored in zip((1, 2), written.events, strict=True)
    ]
    others = [tried._replace(attempt=1), tried._replace(request_hash="1:cd"), tried._replace(stream=NOBODY)]
    assert dict((await store.load([], [], [tried, *others], NOW)).attempts) == {tried: found}
    assert dict((await store.load([], [], [tried], NOW + 1)).attempts) == {}
    await store.close()


async def test_who_repeated_an_attempt_is_known_beside_it(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    written = transaction(rows[0], count=2, attempt=0)
    await store.commit(written.commit)
    retry = written.commit.attempts[0]._replace(attempt=1, recorded=NOW + 5, command_id="retry")
    after = replace(written.rows[0], position=99)
    again = Commit(written.rows, [after], [], [], [retry])
    await store.commit(again)
    first = Attempt(retry.stream, "1:ab", 0)
    loaded = await store.load([], [], [first, first._replace(attempt=1)], NOW)
    told = {
        key.attempt: [(t.command_id, t.receipt.sequence) for t in f] for key, f in loaded.attempts.items()
    }
    assert told == {0: [("c1", 1), ("c2", 2)], 1: [("retry", 1)]}
    assert await store_lab.counts() == (2, 2, 3)
    with pytest.raises(store_lab.conflict):  # an event answers for one attempt of a number
        await store.commit(again._replace(before=[after], after=[replace(after, position=100)]))
    await store.close()


# --- heartbeat and release ---


async def test_a_heartbeat_forgets_old_attempts_and_tells_the_time(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)
    await store.commit(transaction(rows[0], count=2, attempt=0).commit)
    first = await store.heartbeat([], (), NOW)
    assert await store_lab.counts() == (2, 2, 2)
    second = await store.heartbeat([], (), NOW + 1)
    assert await store_lab.counts() == (2, 2, 0)
    assert 0 <= second - first < 60_000_000
    await store.close()


async def test_what_was_published_is_noted_forwards_and_by_the_owner_only(store_lab: StoreLab) -> None:
    store, rows = await opened(store_lab)

    async def noted(sequence: int, offset: int, epoch: int = 1) -> tuple[int, int]:
        row = replace(rows[0], epoch=epoch, published_sequence=sequence, published_offset=offset)
        await store.heartbeat([row], (), 0)
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
