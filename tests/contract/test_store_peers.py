"""How workers know of each other: from the first heartbeat to the end of the session, whatever ends it."""

import asyncio

import pytest

from services.ledger.ports import Peers, Store
from tests.contract.stores import SHARDS, StoreLab
from tests.contract.transactions import EVERY

NONE: frozenset[int] = frozenset()


async def beating(lab: StoreLab, worker: str, *refused: int) -> Store:
    """A session that has beaten once."""
    store = lab.session(worker)
    await store.open()
    await store.heartbeat([], refused, 0)
    return store


async def sees(store: Store, wanted: Peers) -> None:
    """Once the server has noticed what there is to notice."""
    async with asyncio.timeout(10):
        while await store.peers() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_workers_have_places_by_their_names(store_lab: StoreLab) -> None:
    c, a, b = [await beating(store_lab, name) for name in "cab"]
    assert [await store.peers() for store in (a, b, c)] == [Peers(3, place, NONE) for place in range(3)]
    for store in (a, b, c):
        await store.close()


async def test_a_worker_counts_itself_before_its_first_heartbeat(store_lab: StoreLab) -> None:
    a, b = await beating(store_lab, "a"), store_lab.session("b")
    await b.open()
    assert (await a.peers(), await b.peers()) == (Peers(1, 0, NONE), Peers(2, 1, NONE))
    await a.close()
    await b.close()


async def test_whoever_leaves_or_loses_the_session_is_gone_at_once(store_lab: StoreLab) -> None:
    a, b, c = [await beating(store_lab, name) for name in "abc"]
    await c.claim(EVERY, SHARDS)
    await c.leave()
    await sees(b, Peers(2, 1, NONE))
    assert await b.claim(EVERY, SHARDS) == []
    await c.close()
    await a.close()
    await sees(b, Peers(1, 0, NONE))
    await b.close()


async def test_after_the_server_ended_all_sessions_only_the_new_ones_are_there(store_lab: StoreLab) -> None:
    a, b = [await beating(store_lab, name) for name in "ab"]
    await store_lab.end_sessions()
    again = await beating(store_lab, "b")
    assert await again.peers() == Peers(1, 0, NONE)
    with pytest.raises(store_lab.lost):
        await a.peers()
    for store in (a, b, again):
        await store.close()


async def test_what_only_others_refuse_is_told(store_lab: StoreLab) -> None:
    a, b = await beating(store_lab, "a", 1, 3), await beating(store_lab, "b", 3)
    assert [await store.peers() for store in (a, b)] == [Peers(2, 0, NONE), Peers(2, 1, frozenset({1}))]
    await a.heartbeat([], (), 0)
    assert [await store.peers() for store in (a, b)] == [Peers(2, 0, frozenset({3})), Peers(2, 1, NONE)]
    await a.close()
    await b.close()


async def test_no_more_is_claimed_than_asked_for_and_nothing_else_is_locked(store_lab: StoreLab) -> None:
    await store_lab.move(0)  # comes first, and takes no place
    a, b = await beating(store_lab, "a"), await beating(store_lab, "b")
    mine = {row.shard for row in await a.claim(EVERY, 2)}
    theirs = {row.shard for row in await b.claim(EVERY, SHARDS)}
    assert (len(mine), mine | theirs) == (2, {1, 2, 3})
    await a.close()
    await b.close()
