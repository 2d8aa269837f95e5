"""Laws of the whole path on fakes: whatever is asked, and whoever dies when, the ledger is whole."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from events.codec import decode_command, decode_envelope, decode_reply, digest, genesis
from events.commands import EnterInBulk
from events.facts import Movement
from events.ids import parse_position
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.ledger import worker as worker_module
from services.ledger.batches import cache, decisions, folding, receipts, settling, snapshots
from services.ledger.domain.customer import Customer
from tests.factories import customer_fact, fold, signed
from tests.fakes.asking import entry
from tests.fakes.simulation import simulate
from tests.fakes.world import World
from tests.laws.strategies import asks, credits, debits, registrations
from tests.laws.trouble import Customers, Step, Trouble, live_through

SHARDS = 2
CUSTOMERS = ("cus_a", "cus_b", "cus_c")


singles = st.builds(
    Step,
    customer=st.sampled_from(CUSTOMERS),
    ask=st.one_of(asks, asks, asks, registrations),
    key=st.sampled_from([None, None, "k1", "k2", "k3"]),
    attempt=st.sampled_from([0, 0, 0, 1, 2]),
    pause_ms=st.sampled_from([0, 0, 0, 1, 7, 40]),
)
together_with = {customer: [o for o in CUSTOMERS if shard_of(o, SHARDS) == shard_of(customer, SHARDS)]
                 for customer in CUSTOMERS}  # fmt: skip
bulks = st.sampled_from(CUSTOMERS).flatmap(
    lambda customer: st.builds(
        Step,
        customer=st.just(customer),
        ask=st.builds(
            EnterInBulk,
            entries=st.lists(
                st.builds(
                    entry,
                    st.sampled_from(together_with[customer]),
                    st.one_of(credits, debits),
                    st.sampled_from(["k1", "k2", "k3", "k4", "k5"]),
                ),
                min_size=1,
                max_size=6,
            ),
            all_or_nothing=st.booleans(),
        ),
        key=st.none(),
        attempt=st.just(0),
        pause_ms=st.sampled_from([0, 0, 7]),
    )
)
steps = st.one_of(singles, singles, singles, singles, bulks)
stories = st.lists(steps, min_size=1, max_size=40)
seeds = st.integers(0, 2**32 - 1)
RARE = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a shorter story meets other trouble: no shrinking
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True, scope="module")
def _short_memory() -> Iterator[None]:
    """Receipts are read for three commands after a take-over, two customers fit into memory, snapshots are frequent."""
    patch = pytest.MonkeyPatch()
    patch.setattr(settling, "CAREFUL_COMMANDS", 3)
    patch.setattr(settling, "BATCH_COMMANDS_MAX", 6)
    patch.setattr(worker_module, "HEARTBEAT_SECONDS", 0.03)
    patch.setattr(cache, "CACHE_BYTES_MAX", 2 * cache.ENTRY_BYTES + 200)
    for module in (decisions, folding):
        patch.setattr(module, "SNAPSHOT_EVERY", 3)
    patch.setattr(decisions, "RUN_EVENTS_MAX", 4)
    with structlog.testing.capture_logs():
        yield
    patch.undo()


@given(stories, seeds, st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([1, 2, 3]))
@settings(RARE, max_examples=300)
def test_whatever_happens_the_ledger_is_whole(
    story: list[Step], seed: int, often: float, processes: int
) -> None:
    trouble = Trouble(seed, often)
    with told(seed, trouble):
        simulate(_whole(story, trouble, processes))


async def _whole(story: list[Step], trouble: Trouble, processes: int) -> None:
    world = World(SHARDS)
    live = await live_through(world, story, trouble, processes)
    chain_is_whole(world)
    groups_are_whole(world)
    receipts_stand_in_the_topic(world)
    replay_equals(world, live)
    snapshots_are_true(world)
    books_balance(world)
    answers_are_true(world)


@given(stories, seeds)
@settings(RARE, max_examples=150)
def test_a_second_delivery_of_every_command_changes_nothing(story: list[Step], seed: int) -> None:
    trouble = Trouble(seed, 0.05)
    with told(seed, trouble):
        simulate(_delivered_twice(story, trouble))


async def _delivered_twice(story: list[Step], trouble: Trouble) -> None:
    world = World(SHARDS)
    await live_through(world, story, trouble)
    before = [world.topic(shard) for shard in range(SHARDS)]
    first = answers(world)
    world.kafka.replies.clear()
    for shard in range(SHARDS):
        for value in list(world.kafka.commands[shard]):
            world.kafka.send(shard, value)
    world.rereading = True
    await live_through(world, [], trouble)
    assert [world.topic(shard) for shard in range(SHARDS)] == before
    for correlation, position in answers(world).items():
        assert first.get(correlation, position) == position


def answers(world: World) -> dict[str, str]:
    """Position by correlation and place, of what was applied or refused."""
    return {
        f"{reply.correlation}.{place}": one.position
        for reply in (decode_reply(value) for _, value in world.kafka.replies)
        for place, one in enumerate(reply.entries or [reply])
        if one.position
    }


@contextmanager
def told(seed: int, trouble: Trouble) -> Iterator[None]:
    """With a failure, the seed and what it did."""
    try:
        yield
    except BaseException:
        note(f"seed {seed}: {', '.join(trouble.log) or 'no trouble'}")
        raise


def chain_is_whole(world: World) -> None:
    """Sequences gapless (`World.topic` asserts that), each event naming the bytes before it; topic = store."""
    for shard in range(SHARDS):
        head, last = genesis("memory", shard), ""
        for sequence, value in enumerate(world.topic(shard), start=1):
            envelope = decode_envelope(value)
            assert (envelope.previoushash, int(envelope.sequence)) == (head.hex(), sequence)
            assert envelope.time >= last
            head, last = digest(value), envelope.time
        assert world.database.rows[shard].head == head
        assert world.topic(shard) == [row.value for row in world.database.events[shard]]


def groups_are_whole(world: World) -> None:
    """Of the entries that a record brought anew for one customer, all were applied or none."""
    for shard in range(SHARDS):
        together: defaultdict[tuple[str, str], set[bool]] = defaultdict(set)
        for value in world.topic(shard):
            envelope = decode_envelope(value)
            command, ask = decode_command(world.kafka.commands[shard][envelope.commandposition])
            if isinstance(ask, EnterInBulk) and ask.all_or_nothing:
                assert envelope.commandid.startswith(f"{command.id}.")
                together[command.id, envelope.subject].add(signed(customer_fact(envelope)) != 0)
        assert all(len(outcomes) == 1 for outcomes in together.values())


def receipts_stand_in_the_topic(world: World) -> None:
    events = [decode_envelope(value) for shard in range(SHARDS) for value in world.topic(shard)]
    rebuilt = {row.key: row for row in map(receipts.row_of, events)}
    assert rebuilt == world.database.receipts
    assert len(rebuilt) == len(events)


def replay_equals(world: World, live: Customers) -> None:
    """What a rebuild from the topic gives is what the last process had in memory, and what its streams say."""
    replayed: dict[UUID, Customer] = {}
    versions: Counter[UUID] = Counter()
    for shard in range(SHARDS):
        for value in world.topic(shard):
            envelope = decode_envelope(value)
            stream = receipts.row_of(envelope).stream
            versions[stream] += 1
            assert envelope.streamversion == versions[stream]
            replayed[stream] = fold(
                [(customer_fact(envelope), envelope.time)], replayed.get(stream, Customer())
            )
    assert {stream: replayed.get(stream, Customer()) for stream in live} == live


def snapshots_are_true(world: World) -> None:
    """Each is the fold of committed events up to the one that it names."""
    for stream, found in world.database.snapshots.items():
        rows = [
            row for version, row in sorted(world.database.streams[stream].items()) if version <= found.version
        ]
        envelopes = [decode_envelope(row.value) for row in rows]
        assert snapshots.read(found) == fold((customer_fact(one), one.time) for one in envelopes)
        assert found.head == digest(rows[-1].value)


def books_balance(world: World) -> None:
    for customer in CUSTOMERS:
        sums: Counter[str] = Counter()
        for envelope in world.stored(customer):
            fact = customer_fact(envelope)
            if isinstance(fact, Movement):
                sums[fact.currency] += signed(fact)
                assert fact.balance_after == sums[fact.currency] >= 0


def answers_are_true(world: World) -> None:
    """Every answer speaks of an event of its command's shard; no command, nor entry, is answered in two ways."""
    told: dict[str, tuple[Outcome, str]] = {}
    for _, value in world.kafka.replies:
        reply = decode_reply(value)
        assert reply.outcome in (Outcome.APPLIED, Outcome.REFUSED, Outcome.KEY_REUSED)
        assert told.setdefault(reply.correlation, (reply.outcome, reply.position)) == (
            reply.outcome,
            reply.position,
        )
        for place, one in enumerate(reply.entries or [reply]):
            _true(world, reply.correlation, one)
            said = (one.outcome, one.position)
            assert told.setdefault(f"{reply.correlation}.{place}", said) == said


def _true(world: World, correlation: str, reply: Reply) -> None:
    if reply.position:
        shard, sequence = parse_position(reply.position)
        event = decode_envelope(world.database.event(shard, sequence))
        assert shard == world.sent[correlation].shard
        assert event.time == reply.time
