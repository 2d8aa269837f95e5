"""From the store to the topic: no gap whatever fails, repeats at most, and never other bytes."""

import asyncio
import re
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from events.codec import decode_envelope
from events.commands import AnyAsk
from events.replies import Outcome
from events.requests import SettleInvoice
from events.topics import EVENTS
from services.ledger.failures import TopicDiverged
from services.ledger.relay import outgoing
from services.ledger.relay import relay as relay_module
from tests.fakes.asking import REGISTER, credit
from tests.fakes.gate import Hold
from tests.fakes.simulation import simulated, until
from tests.fakes.world import World
from tests.unit.ledger.publishing import FAILURE, A, spoken


@simulated
async def test_the_topic_holds_the_stores_bytes_under_the_customers_key() -> None:
    world = World()
    shard = await spoken(world, 5)
    rows = world.database.events[shard]
    assert world.kafka.events[shard] == [(A.encode(), row.value) for row in rows]
    assert world.sequences(shard) == [1, 2, 3, 4, 5]


@simulated
async def test_a_failed_batch_followed_by_a_good_one_leaves_no_gap() -> None:
    world = World()
    shard = world.shard(A)
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.taken()
        node.gate.fail("publish", "before", FAILURE)
        await world.ask(A, credit(1))
        await world.ask(A, credit(2))
        await world.taken()
        assert node.broker.publishers == 2
    assert world.sequences(shard) == [1, 2, 3]


@simulated
async def test_a_batch_that_was_there_after_all_is_found_and_not_repeated() -> None:
    world = World()
    async with world.node() as node:
        node.gate.fail("publish", "after", FAILURE)
        await world.ask(A, REGISTER)
        await world.ask(A, credit(1))
        await world.taken()
    assert world.sequences(world.shard(A)) == [1, 2]


@simulated
async def test_a_given_up_batch_that_arrives_late_is_a_repeat_and_no_divergence() -> None:
    world = World()
    shard = world.shard(A)
    async with world.node() as node:
        node.gate.fail("publish", "before", FAILURE)
        await world.ask(A, REGISTER)
        await world.ask(A, credit(1))
        await world.taken()
        world.kafka.deliver_late()
        assert world.sequences(shard)[-1] == 1
        await world.ask(A, credit(2))
        await world.taken()
    async with world.node() as node:
        await world.ask(A, credit(3))
        await world.taken()
        assert node.worker.refused == set()
    assert world.sequences(shard) == [1, 2, 1, 3, 4]


@simulated
async def test_failures_of_the_new_producer_and_of_the_scan_are_tried_again() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.taken()
        node.gate.fail("publish", "before", *[FAILURE] * 3)
        node.gate.fail("renew_publisher", "before", *[FAILURE] * 7)
        node.gate.fail("events_from", "before", *[FAILURE] * 2)
        with capture_logs() as lines:
            await world.ask(A, credit(1))
            await world.taken()
    assert world.sequences(world.shard(A)) == [1, 2]
    failed = [line for line in lines if line["event"] == "relay_recovery_failed"]
    assert failed, "an operator sees that it goes on trying"
    assert all(re.search(r"(relay|scan)\.py:\d+$", line["place"]) for line in failed), "and where it fails"


@simulated
async def test_other_shards_go_on_publishing_after_one_failed() -> None:
    world = World()
    names = {world.shard(name): name for name in (f"cus_{number}" for number in range(40))}
    async with world.node() as node:
        node.gate.fail("publish", "before", FAILURE, FAILURE)
        for name in names.values():
            world.send(name, REGISTER)
        await world.taken()
    assert [world.sequences(shard) for shard in range(4)] == [[1]] * 4


@simulated
async def test_a_shard_without_a_leader_waits_for_it_and_the_others_do_not() -> None:
    world = World()
    names = [world.customer_in(shard) for shard in range(4)]
    async with world.node() as node:
        for name in names:
            await world.ask(name, REGISTER)
        await world.taken()
        world.kafka.leaderless = {(EVENTS.name, 1), (EVENTS.name, 2)}
        for shard in (0, 1, 3):  # of shard 2 there is nothing to publish
            await world.ask(names[shard], credit(1))
        await until(lambda: world.sequences(0) == world.sequences(3) == [1, 2])
        for count in range(3):
            await world.ask(names[0], credit(1))
            await until(lambda: world.sequences(0)[-1] == 3 + count)  # noqa: B023 - awaited at once
        assert node.broker.publishers == 2, "for shard 1 alone no other publisher is thrown away"
        world.kafka.leaderless = {(EVENTS.name, 2)}
        await until(lambda: world.sequences(1) == [1, 2])
        await world.ask(names[2], credit(1))
        await asyncio.sleep(20)
        assert node.broker.publishers == 2
        assert world.sequences(2) == [1]
        world.kafka.leaderless = set()
        await world.taken()


@simulated
async def test_what_a_shard_without_a_leader_got_meanwhile_ends_the_worker_when_it_is_seen() -> None:
    world = World()
    async with world.node() as node:
        await world.ask(A, REGISTER)
        await world.taken()
        world.kafka.leaderless = {(EVENTS.name, world.shard(A))}
        await world.ask(A, credit(1))
        await until(lambda: node.broker.publishers == 2)
        world.kafka.append(world.shard(A), [(b"", b"?")])
        world.kafka.leaderless = set()
        assert isinstance(await node.end(), TopicDiverged)
    assert len(world.kafka.events[world.shard(A)]) == 2


@simulated
async def test_what_does_not_fit_the_queues_is_read_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bounded together: every shard may be behind at once."""
    monkeypatch.setattr(relay_module, "QUEUED_BYTES_MAX", 5_000)
    monkeypatch.setattr(outgoing, "BATCH_EVENTS_MAX", 3)
    world = World()
    names = [world.customer_in(shard) for shard in range(4)]
    async with world.node() as node:
        publish = node.gate.hold("publish")
        for name in names:
            await world.ask(name, REGISTER)
        await asyncio.sleep(2 * relay_module.CALM_SECONDS)  # each shard has begun to send
        for _ in range(8):
            for name in names:
                await world.ask(name, credit(1))
        queued = [event for state in node.worker._relay._shards.values() for event in state.queue._events]
        assert 0 < sum(len(event.value) for event in queued) < 5_000 + len(queued[-1].value)
        publish.released.set()
        await world.taken()
        for name in names:
            await world.ask(name, credit(1))
        await world.taken()
    assert [world.sequences(shard) for shard in range(4)] == [list(range(1, 11))] * 4


@simulated
async def test_what_did_not_fit_is_not_left_out_when_there_is_room_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "BATCH_EVENTS_MAX", 1)
    world = World()
    shard = world.shard(A)
    async with world.node() as node:
        publish = node.gate.hold("publish")
        for ask in (REGISTER, credit(1), credit(1)):
            await world.ask(A, ask)
        await publish.reached.wait()
        queue = node.worker._relay._shards[shard].queue
        monkeypatch.setattr(relay_module, "QUEUED_BYTES_MAX", queue.size)
        await world.ask(A, credit(1))
        release_one(publish)
        await until(lambda: world.sequences(shard) == [1])
        assert (queue.last, queue.size < relay_module.QUEUED_BYTES_MAX) == (3, True), "the fourth did not fit"
        await world.ask(A, credit(1))
        publish.released.set()
        await world.taken()
    assert world.sequences(shard) == [1, 2, 3, 4, 5]


@simulated
async def test_a_full_batch_waits_for_no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard with much to publish is not held to one batch in a calm moment."""
    monkeypatch.setattr(outgoing, "BATCH_EVENTS_MAX", 3)
    world = World()
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await asyncio.sleep(2 * relay_module.CALM_SECONDS)
        for _ in range(17):
            await world.ask(A, credit(1))
        began = asyncio.get_running_loop().time()
        publish.released.set()
        await world.taken()
        took = asyncio.get_running_loop().time() - began
    assert world.sequences(world.shard(A)) == list(range(1, 19))
    assert took < 3 * relay_module.CALM_SECONDS, "six batches"


@simulated
async def test_a_batch_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BATCH_BYTES_MAX", 2_500)
    world = World(shards=1)
    async with world.node() as node:
        sizes: list[int] = []
        append = world.kafka.append

        def noted(shard: int, records: list[tuple[bytes, bytes]]) -> int:
            sizes.append(len(records))
            return append(shard, records)

        monkeypatch.setattr(world.kafka, "append", noted)
        node.gate.fail("publish", "before", FAILURE)
        for number in range(9):
            world.send(f"cus_{number}", REGISTER)
        await world.taken()
    assert sum(sizes) == 9
    assert 1 < max(sizes) < 4


@simulated
@pytest.mark.parametrize("queued", [True, False])
async def test_a_batch_ends_between_two_commands(monkeypatch: pytest.MonkeyPatch, queued: bool) -> None:
    """A topic that ends within a command would be taken for all of it, if the store were lost."""
    monkeypatch.setattr(outgoing, "BATCH_EVENTS_MAX", 4)
    if not queued:
        monkeypatch.setattr(relay_module, "QUEUED_BYTES_MAX", 1_000)
    world = World(shards=1)
    batches: list[list[str]] = []
    append = world.kafka.append

    def noted(shard: int, records: list[tuple[bytes, bytes]]) -> int:
        batches.append([decode_envelope(value).commandid for _, value in records])
        return append(shard, records)

    monkeypatch.setattr(world.kafka, "append", noted)
    async with world.node() as node:
        publish = node.gate.hold("publish")
        world.send(A, REGISTER)
        await publish.reached.wait()
        asks: list[AnyAsk] = [credit(9), *[SettleInvoice(invoice_id="inv_1", currency="USD", amount=1)] * 7]
        for ask in asks:
            await world.ask(A, ask)  # each of these settlements is two events
        publish.released.set()
        await world.taken()
    assert world.sequences(0) == list(range(1, 17))
    assert max(map(len, batches)) <= 4
    assert sum(map(len, batches)) / len(batches) > 2
    for batch, following in pairwise(batches):
        assert batch[-1] != following[0], batches


# --- lag ---


def release_one(publish: Hold) -> None:
    """Who waits there goes on; the next one waits again."""
    publish.released.set()
    publish.released.clear()


@simulated
async def test_a_shard_takes_nothing_while_too_many_events_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "LAG_EVENTS_MAX", 3)
    world = World()
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        for _ in range(3):
            assert (await world.ask(A, credit(1))).outcome is Outcome.APPLIED
        reply = await world.ask(A, credit(1), key="k")
        assert (reply.outcome, reply.code) == (Outcome.UNAVAILABLE, "SHARD_UNAVAILABLE")
        publish.released.set()
        await world.taken()
        assert (await world.ask(A, credit(1), key="k")).balance_after == 4
    assert world.kafka.dead_letters == []


@simulated
async def test_a_shard_takes_nothing_while_its_events_wait_too_long() -> None:
    world = World()
    other = next(name for n in range(99) if world.shard(name := f"cus_{n}") != world.shard(A))
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await asyncio.sleep(29)
        assert (await world.ask(A, credit(1))).outcome is Outcome.APPLIED
        await asyncio.sleep(2)
        assert (await world.ask(A, credit(1))).outcome is Outcome.UNAVAILABLE
        assert (await world.ask(other, REGISTER)).outcome is Outcome.APPLIED
        publish.released.set()
        await world.taken()
        assert (await world.ask(A, credit(1))).balance_after == 2
        await asyncio.sleep(60)
        assert (await world.ask(A, credit(1))).balance_after == 3


@simulated
async def test_a_shard_that_is_behind_and_gets_on_has_not_waited_too_long() -> None:
    world = World()
    async with world.node() as node:
        publish = node.gate.hold("publish")
        await world.ask(A, REGISTER)
        await publish.reached.wait()
        await world.ask(A, credit(1))
        await asyncio.sleep(20)
        release_one(publish)
        await until(lambda: world.sequences(world.shard(A)) == [1])
        await asyncio.sleep(15)
        assert (await world.ask(A, credit(1))).outcome is Outcome.APPLIED
        publish.released.set()
        await world.taken()


@simulated
async def test_a_shard_is_not_behind_though_the_scan_that_found_its_last_event_broke_off() -> None:
    """Else a quiet one took nothing any more, for as long as the worker lived."""
    world = World()
    names = [world.customer_in(shard) for shard in range(4)]
    async with world.node() as node:
        for name in names:
            await world.ask(name, REGISTER)
        await world.taken()
        node.gate.fail("publish", "after", FAILURE)
        read: list[str] = []

        def third_record(call: str, phase: str) -> None:
            if (call, phase) == ("events_from", "after"):
                read.append(call)
                if len(read) == 3:
                    raise FAILURE

        node.gate.on_pass = third_record  # the first two are all that the shard's partition holds
        assert (await world.ask(names[0], credit(1))).balance_after == 1
        await until(lambda: len(read) > 6)
        await asyncio.sleep(60)
        assert (await world.ask(names[0], credit(1))).outcome is Outcome.APPLIED
        await world.taken()
    assert world.sequences(0) == [1, 2, 3]
