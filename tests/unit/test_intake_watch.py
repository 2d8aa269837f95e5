"""When intake's watch worries: records wait, or do not come. The ledger is waited for, offsets without a record not."""

import time
from collections.abc import Collection
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted
from prometheus_client import REGISTRY

from events.topics import PAYMENTS
from services.ends import Seen
from services.faust_process import Hangs
from services.intake import watch
from services.intake.watch import Watch
from tests.unit.watching import WatchStage, hasten


class Stage(WatchStage):
    """A watch with everything around it played; one partition, in which record 6 is the last of 7 offsets."""

    def __init__(self) -> None:
        self.app: Any = SimpleNamespace(
            received=lambda: {0}, positions=lambda: {0: 7}, fetched={0: 7}, read_topic=PAYMENTS.name, crashed=False
        )  # fmt: skip
        self.taking: Any = SimpleNamespace(
            next_offsets={0: 7}, last_progress=time.monotonic(), late=dict, stands=lambda: False
        )
        self.end = 7
        self.asked: float | None = None
        self.heard = True
        asker: Any = SimpleNamespace(waits_since=lambda: self.asked, hears=lambda: self.heard)
        self.watch = Watch(self.app, self.taking, asker, self)  # type: ignore[arg-type]

    async def seen(self, partitions: Collection[int]) -> Seen:
        return Seen(dict.fromkeys(partitions, self.end), {})


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    hasten(monkeypatch, Watch)
    monkeypatch.setattr(watch, "NOT_READY_SECONDS", 0.05)
    return Stage()


@pytest.mark.parametrize("next_offsets", [{0: 6}, {0: 7}], ids=["of ours", "given to others meanwhile"])
async def test_a_ledger_that_is_away_is_waited_for(stage: Stage, next_offsets: dict[int, int]) -> None:
    """And told, though what was asked may be of partitions that are another process's now."""
    stage.taking.next_offsets, stage.asked, stage.end = next_offsets, time.monotonic(), 9
    stage.taking.late, stage.taking.stands = lambda: {3: 4, 5: 1}, lambda: True
    await stage.run(0.9)
    assert stage.watch.problems()["ledger"] == "no outcome for 1 s of shards [3, 5]: 5 facts wait"
    assert (REGISTRY.get_sample_value("wallet_ledger_intake_outcome_wait_seconds") or 0) > 0.5
    stage.asked = None
    stage.taking.next_offsets, stage.end, stage.taking.late = {0: 7}, 7, dict
    await stage.run(0.1)
    assert stage.watch.problems() == {}
    assert REGISTRY.get_sample_value("wallet_ledger_intake_outcome_wait_seconds") == 0


async def test_one_shard_without_an_outcome_hides_no_deaf_consumer(stage: Stage) -> None:
    """All other news of upstream would stop until somebody looked."""
    stage.taking.next_offsets, stage.asked, stage.end = {0: 6}, time.monotonic(), 9
    stage.taking.late = lambda: {3: 1}
    with pytest.raises(Hangs, match=r"'ledger': .*'lag': '2 records are not fetched"):
        await stage.run(2)


async def test_what_is_fetched_on_and_on_beside_a_late_shard_is_no_fault(stage: Stage) -> None:
    stage.taking.next_offsets, stage.asked = {0: 6}, time.monotonic()
    stage.taking.late = lambda: {3: 1}
    reads = count(8)
    stage.app.positions, stage.end = lambda: {0: next(reads)}, 1_000
    await stage.run(0.9)
    assert "ledger" in stage.watch.problems()


async def test_a_process_that_would_hear_no_reply_ends(stage: Stage) -> None:
    stage.taking.next_offsets, stage.asked, stage.heard = {0: 6}, time.monotonic(), False
    with pytest.raises(Hangs, match="'ledger': 'no outcome"):
        await stage.run(2)


async def test_a_record_that_the_ledger_is_not_asked_about_ends_the_process(stage: Stage) -> None:
    stage.taking.next_offsets = {0: 6}
    with pytest.raises(Hangs, match=r"'ledger': 'no outcome .* 1 records wait"):
        await stage.run(2)


async def test_records_that_do_not_come_are_no_fault_of_the_ledger_and_end_the_process(stage: Stage) -> None:
    stage.end = 9
    with pytest.raises(Hangs, match="'lag': '2 records are not fetched"):
        await stage.run(2)


async def test_a_place_that_is_never_found_ends_the_process(stage: Stage) -> None:
    stage.app.positions, stage.app.fetched = dict, {}
    with pytest.raises(Hangs, match="'lag': '7 records are not fetched"):
        await stage.run(2)


async def test_the_end_of_a_transaction_is_not_behind(stage: Stage) -> None:
    stage.end, stage.app.positions = 8, lambda: {0: 8}
    await stage.run(0.9)
    assert stage.watch.problems() == {}


@pytest.mark.parametrize("done", [{}, {0: 3}])
async def test_what_expired_before_it_was_fetched_is_not_behind(stage: Stage, done: dict[int, int]) -> None:
    stage.app.fetched, stage.taking.next_offsets = {}, done
    await stage.run(0.9)
    assert stage.watch.problems() == {}


async def test_a_topic_that_was_made_anew_while_it_is_read_ends_the_process(stage: Stage) -> None:
    """A new one begins at its beginning."""
    stage.end = 5
    with pytest.raises(Hangs, match=r"partitions \[0\] end before what was read of them"):
        await stage.run(2)


async def test_what_is_done_while_the_ends_are_asked_for_is_not_behind_them(stage: Stage) -> None:
    async def seen(partitions: Collection[int]) -> Seen:
        end = stage.end
        stage.end += 1
        stage.taking.next_offsets = {0: stage.end}
        return Seen(dict.fromkeys(partitions, end), {})

    stage.app.positions, stage.app.fetched = lambda: {0: stage.end}, {}
    stage.watch._ends = SimpleNamespace(seen=seen)  # type: ignore[assignment]
    await stage.run(0.5)
    assert stage.end > 9


async def test_others_may_have_all_of_it(stage: Stage) -> None:
    """What was fetched before is theirs."""
    stage.app.received, stage.taking.next_offsets = set, {}
    await stage.run(0.9)
    assert stage.watch.problems() == {}


async def test_a_consumer_that_never_starts_ends_the_process(stage: Stage) -> None:
    def received() -> set[int]:
        raise ConsumerNotStarted

    stage.app.received = received
    with pytest.raises(Hangs, match="assignment"):
        await stage.run(2)
