"""The slow check in the background: everybody's turn, its pace, and that it ends nothing."""

import asyncio
import gc
import weakref

import pytest
from prometheus_client import Gauge
from structlog.testing import capture_logs

from events.upcasters import UPCASTERS
from services import verifying
from services.ledger.recovery import verify
from services.verifying import Board, Checked, Finding, Kind, Throttle, confirmed, lines, verify_forever

DAMAGE = Finding(Kind.RECEIPT, 1, 7, "the receipt is missing")


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(verifying, "AGAIN_SECONDS", 0.0)


def test_receipts_of_old_forms_stand_where_those_of_new_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, newer in (
        ("payment.recorded.v00", "payment.recorded.v0"),
        ("payment.recorded.v0", "payment.recorded.v1"),
        ("wallet.credited.v0", "wallet.credited.v1"),
    ):
        monkeypatch.setitem(UPCASTERS, name, (newer, dict))
    found = set(verify.elsewhere())
    assert {"payment.recorded.v00", "payment.recorded.v0", "payment.recorded.v1"} <= found
    assert not {"wallet.credited.v0", "wallet.credited.v1"} & found


async def test_each_shard_has_its_turn_and_a_failure_ends_nothing() -> None:
    asked: list[int] = []
    noted: list[Checked] = []
    mine = {0, 1}

    async def check(shard: int) -> Checked:
        asked.append(shard)
        if len(asked) == 2:
            raise OSError("the database is away")
        if len(asked) == 4:
            mine.add(2)
        return Checked(shard, 9, [DAMAGE] if shard == 1 else [])

    class Noting(Board):
        def note(self, checked: Checked) -> None:
            noted.append(checked)
            if len(noted) == 5:
                raise KeyboardInterrupt

    with capture_logs() as logs, pytest.raises(KeyboardInterrupt):
        await verify_forever(check, lambda: mine, Noting(*board()))
    assert asked == [0, 1, 0, 1, 1, 2, 0]  # what was found is looked at twice
    assert [one.shard for one in noted] == [0, 0, 1, 2, 0]
    assert [entry["event"] for entry in logs][:2] == ["check_failed", "check_found"]
    assert logs[1]["findings"] == ["shard 1 at 7: receipt: the receipt is missing"]


async def test_what_a_check_leaves_behind_is_gone_before_the_next() -> None:
    """A closed consumer holds itself and megabytes; nothing else in these services makes Python look for such."""

    class Consumer:
        itself: "Consumer"

    left: list[weakref.ref[Consumer]] = []
    still_there: list[int] = []

    async def check(shard: int) -> Checked:
        still_there.append(sum(one() is not None for one in left))
        if len(left) == 3:
            raise KeyboardInterrupt
        consumer = Consumer()
        consumer.itself = consumer
        left.append(weakref.ref(consumer))
        return Checked(shard, 9, [])

    gc.disable()
    try:
        with pytest.raises(KeyboardInterrupt):
            await verify_forever(check, lambda: {0}, board())
    finally:
        gc.enable()
    assert still_there == [0, 0, 0, 0]


async def test_what_was_given_away_is_not_shown_any_more() -> None:
    """Else an alarm would stay until a restart, whatever its new owner finds."""
    shown, mine = board(), {0, 1}

    async def check(shard: int) -> Checked:
        if shown.findings._metrics.keys() == {("0",), ("1",)}:
            mine.discard(0)
        if shown.findings._metrics.keys() == {("1",)}:
            raise KeyboardInterrupt
        return Checked(shard, 9, [DAMAGE] if shard == 0 else [])

    with capture_logs(), pytest.raises(KeyboardInterrupt):
        await verify_forever(check, lambda: mine, shown)
    assert [gauge._metrics.keys() for gauge in shown] == [{("1",)}] * 3


def board() -> Board:
    return Board(*(Gauge(name, name, ["shard"], registry=None) for name in ("sequence", "time", "findings")))


async def test_only_what_is_found_twice_counts() -> None:
    first, second = [DAMAGE._replace(sequence=8), DAMAGE], [DAMAGE, DAMAGE._replace(sequence=9)]
    looks = [Checked(1, 9, first), Checked(1, 10, second)]

    async def check(_: int) -> Checked:
        return looks.pop(0)

    assert await confirmed(check, 1) == Checked(1, 10, [DAMAGE])


async def test_it_takes_so_many_events_a_second_and_not_more() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    throttle = Throttle(1_000)
    assert throttle.bite(4_000) == 100
    for _ in range(3):
        await throttle.took(throttle.bite(4_000))
    assert loop.time() - began >= 0.29
    assert Throttle().bite(4_000) == 4_000


def test_lines_name_place_and_kind() -> None:
    assert lines([DAMAGE, Finding(Kind.HEAD, 3, 0, "x")]) == [
        "shard 1 at 7: receipt: the receipt is missing",
        "shard 3: head: x",
    ]
