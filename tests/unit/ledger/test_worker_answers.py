"""What a worker answers, and when: nothing before the commit, nothing when the outcome is unknown."""

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from events.replies import Outcome
from services.ledger.batches import batch as batch_module
from services.ledger.batches import settling
from services.ledger.batches.admission import One
from services.ledger.batches.decisions import Decisions, Read
from services.ledger.domain import customer
from services.ledger.relay.relay import Relay
from tests.fakes.asking import REGISTER, bulk, command, correlation, credit, debit, entry, stream_of
from tests.fakes.simulation import START_MICROS, SimClock, simulated, until
from tests.fakes.world import World
from tests.unit.ledger.telling import other

A = "cus_a"
B = "cus_b"


@pytest.fixture(params=["receipts read", "receipts met at the commit"])
def optimism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a known key is found before deciding or only by the index must make no difference."""
    if request.param == "receipts met at the commit":
        monkeypatch.setattr(settling, "CAREFUL_COMMANDS", 0)


@simulated
async def test_from_a_command_to_its_reply_and_its_event() -> None:
    world = World()
    async with world.node():
        assert (await world.ask(A, REGISTER)).outcome is Outcome.APPLIED
        assert (await world.ask(A, credit(5))).balance_after == 5
        assert (await world.ask(A, debit(6))).code == "INSUFFICIENT_WALLET_FUNDS"
        await world.taken()
    shard = world.shard(A)
    assert world.topic(shard) == [row.value for row in world.database.events[shard]]
    assert [event.type for event in world.stored(A)] == [
        "customer.registered.v1", "wallet.credited.v1", "wallet.debit_refused.v1",
    ]  # fmt: skip


@pytest.mark.parametrize("why", ["it is late", "too much is unpublished"])
@simulated
async def test_who_is_declined_was_not_decided_before(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is read again from its beginning: "certainly not applied" would be a lie."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        done = world.send(A, credit(5), key="k", deadline=START_MICROS + 2_000_000)
        first = await world.answer(done)
        world.rereading = True
        if why == "it is late":
            await asyncio.sleep(3)
        else:
            monkeypatch.setattr(Relay, "available", lambda *_: False)
        world.kafka.send(world.shard(A), world.sent[done].value)
        new = world.send(A, credit(5), key="new", deadline=START_MICROS + 2_000_000)
        assert (await world.answer(new)).outcome in (Outcome.LATE, Outcome.UNAVAILABLE)
        again = await world.answer(done, count=2)
    assert (again.outcome, again.position, again.replayed) == (Outcome.APPLIED, first.position, True)
    assert len(world.stored(A)) == 2


@simulated
async def test_what_the_same_batch_applies_is_not_called_late() -> None:
    """Who repeats what waits has another deadline each time."""
    world = World()
    long, short = START_MICROS + 60_000_000, START_MICROS - 1
    asked = [
        world.send(A, REGISTER),
        world.send(A, credit(5), key="k", deadline=long),
        world.send(A, credit(5), key="k", deadline=short),
        world.send(A, bulk(entry(A, credit(5), "k"), entry(A, credit(5), "new")), deadline=short),
    ]
    async with world.node():
        _, first, again, many = [await world.answer(one) for one in asked]
    assert (again.outcome, again.position, again.replayed) == (Outcome.APPLIED, first.position, True)
    known, new = many.entries
    assert (known.position, known.replayed) == (first.position, True)
    assert new.outcome is Outcome.LATE
    assert len(world.stored(A)) == 2


@simulated
async def test_no_reply_before_the_commit() -> None:
    world = World()
    async with world.node() as node:
        commit = node.gate.hold("commit")
        asked = [
            world.send(A, REGISTER),
            world.send(A, debit(1)),
            world.send(A, credit(1), deadline=START_MICROS - 1),
            world.send_bytes(world.shard(A), b'{"replyto":"3/%016x"}' % 77, correlation(77)),
        ]
        await commit.reached.wait()
        await asyncio.sleep(1)
        assert world.kafka.replies == []
        commit.released.set()
        assert [(await world.answer(one)).outcome for one in asked] == [
            Outcome.APPLIED, Outcome.REFUSED, Outcome.LATE, Outcome.MALFORMED,
        ]  # fmt: skip


@simulated
async def test_no_replay_before_the_position_is_committed() -> None:
    """A frozen owner that wakes must not even repeat an old answer."""
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER, key="k")
        commit = node.gate.hold("commit")
        again = world.send(A, REGISTER, key="k")
        await commit.reached.wait()
        await asyncio.sleep(1)
        assert world.replies(again) == []
        commit.released.set()
        assert (await world.answer(again)).replayed


@simulated
async def test_same_key_twice_in_one_batch(optimism: None) -> None:
    world = World()
    first, again = world.send(A, REGISTER, key="k"), world.send(A, REGISTER, key="k")
    other = world.send(A, credit(1), key="k")
    async with world.node():
        assert not (await world.answer(first)).replayed
        assert (await world.answer(again)).replayed
        assert (await world.answer(other)).outcome is Outcome.KEY_REUSED
    assert len(world.stored()) == 1


@simulated
async def test_same_key_in_a_later_batch_and_at_a_later_worker(optimism: None) -> None:
    world = World()
    async with world.node():
        first = await world.ask(A, REGISTER, key="k")
        company = world.send(B, REGISTER)
        assert (await world.ask(A, REGISTER, key="k")).position == first.position
        assert (await world.ask(A, credit(1), key="k")).outcome is Outcome.KEY_REUSED
        assert (await world.answer(company)).outcome is Outcome.APPLIED
    async with world.node():
        again = await world.ask(A, REGISTER, key="k")
    assert (again.replayed, again.position, again.time) == (True, first.position, first.time)
    assert len(world.stored()) == 2


@simulated
async def test_a_known_key_among_new_ones_spoils_none_of_them(optimism: None) -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER, key="k")
        fetch = node.gate.hold("fetch")
        await fetch.reached.wait()
        asked = [world.send(A, credit(1)), world.send(A, REGISTER, key="k"), world.send(A, credit(2))]
        fetch.released.set()
        found = [await world.answer(one) for one in asked]
    assert [(reply.replayed, reply.balance_after) for reply in found][::2] == [(False, 1), (False, 3)]
    assert found[1].replayed
    assert len(world.stored()) == 3


@simulated
async def test_a_keyless_retry_is_answered_for_fifteen_minutes() -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5))
        await asyncio.sleep(14 * 60)
        assert (await world.ask(A, credit(5), attempt=1)).replayed
        await asyncio.sleep(14 * 60)
        assert (await world.ask(A, credit(5), attempt=2)).replayed
        await asyncio.sleep(15 * 60)
        assert (await world.ask(A, credit(5), attempt=3)).balance_after == 10


async def declined(world: World, seconds: float) -> None:
    """A keyless credit of 5 that is read so long after its deadline."""
    late = await world.ask(A, credit(5), deadline=SimClock().micros() - int(seconds * 1e6))
    assert late.outcome is Outcome.LATE


@simulated
async def test_a_retry_of_what_was_declined_is_not_taken_for_one_of_before() -> None:
    """503 says certainly not applied; an equal entry of some minutes ago is another one."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5))
        await asyncio.sleep(300)
        await declined(world, 0.5)
        found = [await world.ask(A, credit(5), attempt=1) for _ in range(2)]
        assert [(one.replayed, one.balance_after) for one in found] == [(False, 10), (True, 5)]


@simulated
@pytest.mark.parametrize(("late", "rest"), [(0.5, 1), (0.5, 20), (5, 0)])
async def test_what_was_applied_after_a_decline_or_long_after_it_is_what_is_repeated(
    late: float, rest: float
) -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await declined(world, late)
        await asyncio.sleep(rest)
        await world.ask(A, credit(5))
        assert (await world.ask(A, credit(5), attempt=1)).replayed


@simulated
async def test_what_was_declined_long_ago_is_not_what_is_repeated() -> None:
    """A caller repeats a 503 by itself within seconds."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5))
        await declined(world, 0.5)
        await asyncio.sleep(20)
        assert (await world.ask(A, credit(5), attempt=1)).replayed


@simulated
async def test_where_a_504_was_said_nothing_is_repeated_by_itself() -> None:
    """What comes is the retry of the one before, whose answer was lost."""
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5))
        await declined(world, 5)
        assert (await world.ask(A, credit(5), attempt=1)).replayed


@simulated
async def test_a_keyless_retry_is_answered_by_the_next_owner() -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER)
        first = await world.ask(A, credit(5))
    async with world.node():
        again = await world.ask(A, credit(5), attempt=1)
    assert (again.replayed, again.position) == (True, first.position)


@simulated
async def test_bad_records_are_put_aside_and_the_partition_goes_on() -> None:
    world = World()
    shard = world.shard(A)
    hostile = [
        b"",
        b"\xff\x00",
        b"[" * 9_999,
        b"null",
        b"x" * 300_000,
        b'{"replyto":"9999/0000000000000000"}',
    ]
    for value in hostile:
        world.send_bytes(shard, value)
    lost = world.send_bytes((shard + 1) % 4, command(50, A, credit(1)), correlation(50))
    world.sent[correlation(0)] = world.sent[lost]
    async with world.node():
        assert (await world.ask(A, REGISTER)).outcome is Outcome.APPLIED
        reply = await world.answer(lost)
        assert (reply.outcome, reply.code) == (Outcome.MALFORMED, "WRONG_SHARD")
    letters = dict(world.kafka.dead_letters)
    expected = {f"{shard}/{offset} INVALID_COMMAND".encode(): value for offset, value in enumerate(hostile)}
    wrong = {f"{(shard + 1) % 4}/0 WRONG_SHARD".encode(): world.kafka.commands[(shard + 1) % 4][0]}
    assert letters == expected | wrong


@simulated
async def test_no_depth_at_which_a_record_can_still_be_read_ends_the_worker() -> None:
    """It is met again by each life. What decodes it stands less deep in the stack than what hashes it."""
    world = World()
    good = command(99, A, other(), attempt=1)
    assert good.count(b'{"amount":"1"}') == 1
    for depth in range(800, 1_000):
        foreign = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
        world.send_bytes(world.shard(A), good.replace(b'{"amount":"1"}', foreign), correlation(99))
    async with world.node():
        assert (await world.ask(A, REGISTER)).outcome is Outcome.APPLIED
    assert len(world.kafka.dead_letters) == 200


@simulated
async def test_a_dead_letter_is_kept_before_its_position_is_passed() -> None:
    world = World()
    world.send_bytes(0, b"{")
    async with world.node() as node:
        kept = node.gate.hold("dead_letter")
        await kept.reached.wait()
        await asyncio.sleep(1)
        assert world.database.rows[0].position == -1
        kept.released.set()
        await world.taken()
    assert len(world.kafka.dead_letters) == 1


@simulated
async def test_late_commands_leave_nothing_but_their_position() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        deadline = node.clock.micros() + 500_000
        commit = node.gate.hold("commit")
        world.send(B, REGISTER)
        await commit.reached.wait()
        late = world.send(A, credit(5), key="k", deadline=deadline)
        await asyncio.sleep(0.6)
        commit.released.set()
        reply = await world.answer(late)
        assert (reply.outcome, reply.code) == (Outcome.LATE, "DEADLINE_EXCEEDED")
        assert (await world.ask(A, credit(5), key="k")).balance_after == 5
    assert world.kafka.dead_letters == []


@simulated
async def test_a_poisoned_decision_is_answered_and_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def poisoned(ask: object, *rest: object) -> object:
        if ask == credit(13):
            raise LookupError("secret")
        return customer.decide(ask, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_module, "decide", poisoned)
    asked = [world.send(A, ask) for ask in (REGISTER, credit(1), credit(13), credit(2))]
    async with world.node():
        found = [await world.answer(one) for one in asked]
    assert [reply.outcome.value for reply in found] == ["applied", "applied", "failed", "applied"]
    assert found[3].balance_after == 3
    assert "secret" not in str(found[2])
    assert [key for key, _ in world.kafka.dead_letters] == [f"{world.shard(A)}/2 FAILED".encode()]


@pytest.mark.parametrize("late", [False, True])
@simulated
async def test_a_retry_whose_receipt_points_at_no_event_fails_and_no_other_command(
    late: bool, optimism: None
) -> None:
    """Something happened, and nobody knows what: neither "not applied" nor another time."""
    world = World(shards=1)
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5), key="k")
        world.database.misplace(0, 2)
        deadline = node.clock.micros() - 1 if late else None
        before, again, after = (
            world.send(A, credit(1), key="new"),
            world.send(A, credit(5), key="k", deadline=deadline),
            world.send(B, REGISTER),
        )
        assert (await world.answer(before)).balance_after == 6
        failed = await world.answer(again)
        assert (await world.answer(after)).outcome is Outcome.APPLIED
    assert (failed.outcome, failed.code) == (Outcome.FAILED, "INTERNAL_SERVER_ERROR")
    assert [key for key, _ in world.kafka.dead_letters] == [b"0/3 FAILED"]
    assert len(world.stored()) == 4


@simulated
async def test_a_keyless_retry_of_what_points_at_no_event_fails() -> None:
    world = World(shards=1)
    async with world.node():
        await world.ask(A, REGISTER)
        await world.ask(A, credit(5))
        world.database.misplace(0, 2)
        assert (await world.ask(A, credit(5), attempt=1)).outcome is Outcome.FAILED
    assert len(world.stored()) == 2


@simulated
async def test_one_that_cannot_be_stored_is_found_by_halves() -> None:
    world = World(shards=1)
    names = [f"cus_{number}" for number in range(12)]
    asked = {name: world.send(name, REGISTER) for name in names}
    bad = names[7]
    world.database.refused.add(stream_of(bad))
    after = world.send(names[0], credit(1))
    async with world.node():
        codes = {name: (await world.answer(one)).code for name, one in asked.items()}
        assert (await world.answer(after)).balance_after == 1
        await world.taken()
    assert codes == {name: "UNSTORABLE" if name == bad else "" for name in names}
    assert [key for key, _ in world.kafka.dead_letters] == [b"0/7 UNSTORABLE"]
    assert [event.subject for event in world.stored()] == [n for n in names if n != bad] + [names[0]]
    assert [event.commandposition for event in world.stored()] == sorted(set(range(13)) - {7})


@simulated
async def test_halves_are_taken_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fitted once may not fit a moment later; were a rest of the first half put back, it would come last."""
    world = World(shards=1)
    asked = [world.send(A, REGISTER), *(world.send(A, credit(number)) for number in range(1, 8))]
    bad = world.send(B, REGISTER)
    world.database.refused.add(stream_of(B))
    split: list[int] = []

    def fitting(self: Decisions, reading: Iterable[One], commands_max: int) -> Read:
        read = list(reading)
        split.append(len(read))
        return read if len(split) == 1 else read[:1]

    monkeypatch.setattr(Decisions, "fitting", fitting)
    async with world.node():
        found = [await world.answer(one) for one in asked]
        assert (await world.answer(bad)).code == "UNSTORABLE"
        await world.taken()
    assert [reply.balance_after for reply in found[1:]] == [1, 3, 6, 10, 15, 21, 28]
    assert [event.commandposition for event in world.stored()] == list(range(8))


@simulated
async def test_replies_say_nothing_personal() -> None:
    world = World()
    async with world.node():
        await world.ask(A, REGISTER, key="my-key")
        await world.ask(A, REGISTER, key="my-key")
        await until(lambda: len(world.kafka.replies) == 2)
    text = msgspec.json.encode([value.decode() for _, value in world.kafka.replies]).decode()
    for personal in (REGISTER.name, REGISTER.email, "my-key"):
        assert personal not in text
