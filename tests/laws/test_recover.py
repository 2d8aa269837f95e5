"""Law: the store that is made again from the topic is the store that wrote it, wherever its backup was cut."""

from hypothesis import given, settings

from services.ledger.recovery.report import left_to_do
from tests.fakes.restoring import recover
from tests.fakes.simulation import simulate
from tests.fakes.world import World
from tests.laws.test_path import RARE, SHARDS, answers, chain_is_whole, seeds, stories, told
from tests.laws.trouble import Step, Trouble, live_through


@given(stories, stories, seeds)
@settings(RARE, max_examples=60)
def test_receipts_and_events_from_the_topic_are_those_of_the_store(
    early: list[Step], late: list[Step], seed: int
) -> None:
    trouble = Trouble(seed, 0.02)
    with told(seed, trouble):
        simulate(_restored(early, late, trouble))


async def _restored(early: list[Step], late: list[Step], trouble: Trouble) -> None:
    world = World(SHARDS)
    await live_through(world, early, trouble)
    kept = world.database.backup()
    await live_through(world, late, trouble)
    lost, world.database = world.database, kept
    assert left_to_do(await recover(world)) == []
    assert world.database.events == lost.events
    assert world.database.receipts == lost.receipts
    tried, known = set(world.database.attempts), set(lost.attempts)
    assert tried <= known
    assert {key[:2] for key in tried} == {key[:2] for key in known}, (
        "a retry left no event to recover it from"
    )
    for shard, row in lost.rows.items():
        found = world.database.rows[shard]
        assert (found.sequence, found.head, found.last_time) == (row.sequence, row.head, row.last_time)
        assert found.position <= row.position
    await _nothing_is_done_twice(world)


async def _nothing_is_done_twice(world: World) -> None:
    """Commands behind the recovered position are read again, and find their receipts."""
    before, first = [world.topic(shard) for shard in range(SHARDS)], answers(world)
    world.rereading = True
    await live_through(world, [], Trouble(0, 0.0))
    assert [world.topic(shard) for shard in range(SHARDS)] == before
    assert all(first.get(told, position) == position for told, position in answers(world).items())
    chain_is_whole(world)
