"""What an owner asks of database, log and topic, call by call: how much it takes, where it reads on, when it looks."""

import asyncio
import math

import pytest
from prometheus_client import REGISTRY
from structlog.typing import EventDict

from services.ledger.ownership import (
    HELD_SECONDS,
    KEEN_LOOK_SECONDS,
    KEEN_SECONDS,
    KEPT_SECONDS,
    LEADERLESS_SECONDS,
    LOOK_SECONDS,
    REFUSED_SECONDS,
    Held,
)
from services.ledger.ports import CommandRecord, Peers
from tests.fakes.asking import REGISTER, command
from tests.fakes.simulation import simulated
from tests.tallied import tallied
from tests.unit.ledger.around import ALONE, NOW, ONE_OF_TWO, SHARDS, Around, published, row

COMMANDS = [command(number, "cus_a", REGISTER) for number in range(10)]


# --- when to look ---


async def test_before_the_first_look_the_heartbeat_decides() -> None:
    assert Around().owner.patience(NOW) == math.inf


@pytest.mark.parametrize(
    ("live", "owned", "refused", "later", "patience"),
    [
        pytest.param(ALONE, 8, 0, 0.0, math.inf, id="alone, with everything"),
        pytest.param(ALONE, 6, 2, 0.0, math.inf, id="alone, with all but what it refuses"),
        pytest.param(ALONE, 7, 0, 0.0, KEEN_LOOK_SECONDS, id="alone, one is lacking"),
        pytest.param(ONE_OF_TWO, 4, 0, 0.0, LOOK_SECONDS, id="with another, its share is whole"),
        pytest.param(ONE_OF_TWO, 3, 1, 0.0, KEEN_LOOK_SECONDS, id="with another, one is lacking"),
        pytest.param(ONE_OF_TWO, 4, 0, 0.03, LOOK_SECONDS - 0.03, id="a part of it is over"),
        pytest.param(ONE_OF_TWO, 4, 0, 1.0, 0.0, id="it is over"),
    ],
)
async def test_seconds_until_the_next_look(
    live: Peers, owned: int, refused: int, later: float, patience: float
) -> None:
    around = Around(live)
    around.owner.owned = {shard: row(shard) for shard in range(owned)}
    around.owner.refused = dict.fromkeys(range(owned, owned + refused), 0.0)
    await around.owner.look(NOW)
    assert around.owner.patience(NOW + later) == pytest.approx(patience)


async def test_who_lacks_shards_is_keen_for_a_while_after_its_share_changed() -> None:
    around = Around(ONE_OF_TWO)
    await around.owner.look(NOW)
    for seconds, patience in ((KEEN_SECONDS - 0.5, KEEN_LOOK_SECONDS), (KEEN_SECONDS, LOOK_SECONDS)):
        await around.owner.look(NOW + seconds)  # the same share: it did not change
        assert around.owner.patience(NOW + seconds) == pytest.approx(patience)


async def test_a_look_says_what_is_too_many_and_tells_operators_once(logs: list[EventDict]) -> None:
    around = Around(ONE_OF_TWO)
    around.owner.owned = {shard: row(shard) for shard in (7, 1, 5, 3, 6)}
    assert await around.owner.look(NOW) == [7]
    assert await around.owner.look(NOW + 1) == [7]
    assert logs == [{"event": "share_changed", "shards": 4, "workers": 2, "log_level": "info"}]
    assert REGISTRY.get_sample_value("wallet_ledger_workers_live") == 2


async def test_what_could_not_be_handed_back_is_not_offered_for_a_while_and_another_is() -> None:
    around = Around(ONE_OF_TWO)
    around.owner.owned = {shard: row(shard) for shard in range(6)}
    assert await around.owner.look(NOW) == [4, 5]
    around.owner.keep([5], NOW + 1)
    assert around.owner.patience(NOW + 1) == pytest.approx(LOOK_SECONDS)
    assert await around.owner.look(NOW + 2) == [3, 4]
    assert await around.owner.look(NOW + 1 + KEPT_SECONDS) == [4, 5]
    around.owner.keep(range(6), NOW)
    assert await around.owner.look(NOW + 1) == []


# --- taking ---


async def test_it_takes_what_it_lacks_and_reads_it_from_where_it_was_left(logs: list[EventDict]) -> None:
    around = Around(ONE_OF_TWO)
    around.owner.owned = {2: row(2, 9, "cmd_9")}
    around.free[0] = row(0, 5, "cmd_5")
    around.log[0] = COMMANDS[5]
    del around.free[2], around.free[1]
    with tallied("wallet_ledger_takeovers_total") as more:
        assert await around.take()
    assert more() == 3
    assert around.told("claim") == [([0, 1, 3, 4, 5, 6, 7], 3)]
    assert around.told("at") == [({0: 5},)]
    assert around.told("begin") == [([3, 4],)]
    assert around.told("assign") == [({2: 10, 0: 6, 3: 3, 4: 3},)]
    assert around.owner.owned.keys() == {0, 2, 3, 4}
    assert around.beaten == 3
    assert logs[-1] == {"event": "shards_taken", "shards": [0, 3, 4], "log_level": "info"}
    assert REGISTRY.get_sample_value("wallet_ledger_shards_owned") == 4
    assert REGISTRY.get_sample_value("wallet_ledger_shards_refused") == 0


@pytest.mark.parametrize(
    ("owned", "free"), [(4, 4), (5, 3), (3, 0)], ids=["its share", "more than that", "none is free"]
)
async def test_it_takes_no_more_than_its_share(owned: int, free: int) -> None:
    around = Around(ONE_OF_TWO)
    around.owner.owned = {shard: row(shard) for shard in range(owned)}
    around.free = {shard: row(shard) for shard in range(SHARDS - free, SHARDS)}
    assert not await around.take()
    assert around.told("assign") == []
    assert len(around.told("claim")) == (owned < 4)  # nothing is asked for where nothing is lacking
    assert REGISTRY.get_sample_value("wallet_ledger_shards_owned") == owned


@pytest.mark.parametrize("found", [None, COMMANDS[4]], ids=["nothing", "another command"])
async def test_a_position_that_the_log_does_not_bear_out_is_an_alarm(
    found: bytes | None, logs: list[EventDict]
) -> None:
    around = Around()
    around.free = {1: row(1, 0, "cmd_1"), 2: row(2, 7, "cmd_7")}
    around.log = {2: COMMANDS[7]} | ({} if found is None else {1: found})
    with tallied("wallet_ledger_positions_unverified_total") as more:
        await around.take()
    assert more() == 1
    assert around.told("at") == [({1: 0, 2: 7},)]
    assert around.told("assign") == [({1: 3, 2: 8},)]
    assert {
        "event": "position_unverified", "shard": 1, "action": "reading the log from its beginning",
        "log_level": "error",
    } in logs  # fmt: skip


async def test_where_every_position_stands_no_beginning_is_asked_for() -> None:
    around = Around()
    around.free = {2: row(2, 7, "cmd_7")}
    around.log = {2: COMMANDS[7]}
    await around.take()
    assert around.told("begin") == []


async def test_it_reads_on_from_the_beginning_until_a_command_of_that_shard_is_committed() -> None:
    around = Around(ONE_OF_TWO)
    around.free = {1: row(1)}
    await around.take()
    around.free = {2: row(2)}
    await around.take()
    around.owner.merge({1: row(1, 4, "cmd_4")})
    around.free = {3: row(3)}
    await around.take()
    assert around.told("assign") == [({1: 3},), ({1: 3, 2: 3},), ({1: 5, 2: 3, 3: 3},)]


# --- refusing ---


@simulated
async def test_what_does_not_fit_is_given_back_and_not_tried_for_a_while() -> None:
    await asyncio.sleep(NOW)
    around = Around(ONE_OF_TWO)
    around.diverged = {0, 1}
    around.owner.refused = {7: NOW + 3 * REFUSED_SECONDS}
    assert await around.take()
    assert around.told("claim") == [([0, 1, 2, 3, 4, 5, 6], 4)]
    assert around.told("release") == [([row(0), row(1)],)]
    until = NOW + REFUSED_SECONDS
    assert around.owner.refused == {0: until, 1: until, 7: NOW + 3 * REFUSED_SECONDS}
    assert around.owner.owned.keys() == {2, 3}
    assert REGISTRY.get_sample_value("wallet_ledger_shards_refused") == 3
    around.did.clear()
    around.diverged = set()
    around.free = {shard: row(shard) for shard in (0, 1)}
    await around.take(NOW + REFUSED_SECONDS - 0.01)
    assert around.told("claim") == [([4, 5, 6], 2)]
    assert await around.take(NOW + REFUSED_SECONDS)
    assert around.owner.owned.keys() == {0, 1, 2, 3}
    assert around.owner.refused.keys() == {7}


@simulated
async def test_what_took_long_to_refuse_is_not_tried_again_at_once() -> None:
    """The others work meanwhile."""
    around = Around()
    around.diverged = {0}
    around.scan_seconds = 2 * REFUSED_SECONDS
    await around.take(asyncio.get_running_loop().time())
    around.free = {0: row(0)}
    await asyncio.sleep(REFUSED_SECONDS - 1)
    await around.take(asyncio.get_running_loop().time())
    assert len(around.told("claim")) == 1


@simulated
async def test_what_has_no_leader_is_given_back_untouched_and_tried_sooner() -> None:
    await asyncio.sleep(NOW)
    around = Around(ONE_OF_TWO)
    around.headless, around.diverged = {0}, {1}
    assert await around.take()
    assert around.told("release") == [([row(0), row(1)],)]
    assert around.owner.refused == {0: NOW + LEADERLESS_SECONDS, 1: NOW + REFUSED_SECONDS}
    assert around.owner.owned.keys() == {2, 3}


async def test_whoever_gets_nothing_reads_nothing_anew() -> None:
    around = Around()
    around.diverged = set(range(SHARDS))
    assert not await around.take()
    assert around.told("assign") == []
    assert around.owner.owned == {}


@pytest.mark.parametrize(("owned", "left"), [(1, {6}), (0, {5, 6})])
async def test_others_who_hold_a_refused_shard_are_believed_by_who_owns_something(
    owned: int, left: set[int]
) -> None:
    """Refused until a moment that has come: 5 is held by another, 6 not tried yet, 4 never refused."""
    around = Around(ONE_OF_TWO)
    around.owner.owned = {shard: row(shard) for shard in range(owned)}
    around.owner.refused = {5: NOW, 6: NOW + 1}
    around.free = {}
    assert not await around.take()
    assert around.owner.refused.keys() == left


async def test_what_was_got_in_full_says_nothing_about_the_rest() -> None:
    around = Around(ONE_OF_TWO)
    around.owner.owned = {shard: row(shard) for shard in range(3)}
    around.owner.refused = {5: NOW}
    await around.take()
    assert around.owner.owned.keys() == {0, 1, 2, 3}
    assert around.owner.refused.keys() == {5}


# --- waiting ---


async def test_shards_that_wait_are_read_on_together_from_where_their_rows_say() -> None:
    around = Around()
    around.owner.owned = {1: row(1, 4), 2: row(2, 7), 3: row(3, 9)}
    assert not around.owner.listen(NOW)
    around.owner.hold({1: Held(6, unkept=True)}, NOW)
    assert around.owner.listen(NOW + 1)
    assert not around.owner.listen(NOW + 2)
    around.owner.hold({3: Held(10, unkept=False)}, NOW + 3)
    assert around.owner.listen(NOW + 4)
    records = [
        CommandRecord(shard, offset, b"") for shard, offset in ((1, 5), (1, 6), (1, 7), (2, 8), (3, 10))
    ]
    assert [around.owner.waits(one) for one in records] == [False, True, True, False, True]
    assert not around.owner.listen(NOW + HELD_SECONDS - 0.01)
    assert around.owner.listen(NOW + HELD_SECONDS)
    assert around.told("assign") == [({2: 8, 3: 10},), ({2: 8},), ({1: 5, 2: 8, 3: 10},)]


async def test_what_was_left_out_is_read_even_where_nobody_listened_meanwhile() -> None:
    around = Around()
    around.owner.owned = {1: row(1, 4)}
    around.owner.hold({1: Held(6, unkept=True)}, NOW)
    assert around.owner.listen(NOW + HELD_SECONDS)
    assert around.told("assign") == [({1: 5},)]


# --- giving back, beating ---


async def test_what_is_given_back_is_noted_as_published_and_the_others_are_read_on(
    logs: list[EventDict],
) -> None:
    around = Around()
    around.free = {shard: row(shard) for shard in (1, 2, 3)}
    await around.take()
    around.did.clear()
    with tallied("wallet_ledger_handovers_total") as more:
        await around.owner.give_back([3, 2])
    assert more() == 2
    assert around.did == [
        ("release", [published(row(3)), published(row(2))]),
        ("assign", {1: 3}),
    ]
    assert logs[-1] == {"event": "shards_handed_back", "shards": [2, 3], "log_level": "info"}
    assert REGISTRY.get_sample_value("wallet_ledger_shards_owned") == 1
    around.owner.owned |= {2: row(2, 8, "cmd_8")}  # who gets it again goes on from its row
    await around.owner.give_back([1])
    assert around.did[-1] == ("assign", {2: 9})


async def test_a_heartbeat_says_what_is_owned_and_refused_and_when_it_was_heard() -> None:
    around = Around()
    assert around.owner.heard == -math.inf
    around.owner.owned = {1: row(1)}
    around.owner.refused = {4: NOW}
    before = asyncio.get_running_loop().time()
    assert await around.owner.heartbeat(55) == 77
    assert around.did == [("heartbeat", [published(row(1))], {4}, 55)]
    assert before <= around.owner.heard <= asyncio.get_running_loop().time()


@simulated
async def test_who_has_his_share_does_not_refuse_for_ever_what_had_no_leader() -> None:
    await asyncio.sleep(NOW)
    around = Around(ONE_OF_TWO)
    around.headless = {0}
    await around.take()
    assert around.owner.refused.keys() == {0}
    around.headless = set()
    around.free.pop(0)  # the other one has it by now
    await around.take(NOW + LEADERLESS_SECONDS)
    await around.take(NOW + 2 * LEADERLESS_SECONDS)
    assert (len(around.owner.owned), around.owner.refused) == (SHARDS // 2, {})
