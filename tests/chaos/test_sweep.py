"""Everything that can die is killed and frozen in a storm under load, then hurt in any way; every answer must be true.

`WALLET_LEDGER_TEST_SEED` repeats a run: the same requests, the same faults. `make prove ARGS=sweep` is the long form, which
also judges how long each recovery took: that depends on what else the machine does.
"""

from http import HTTPStatus

import pytest

from tests import seeds
from tests.chaos.faults import KILLS, drawn, storm
from tests.chaos.load import NOT_APPLIED, UNKNOWN
from tests.chaos.sweep import Swept, sweep

PER_SECOND = 150
STORM_PER_SECOND_MIN = 300
STORM_KILLS_MIN = 20
"""Of ledger, projections, api and broker, each with requests in flight."""
FAULTS = 6


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_every_answer_is_true_after_everything_was_hurt_again_and_again() -> None:
    seed = seeds.chosen()
    swept = sweep(seed, PER_SECOND, drawn(seed, FAULTS), storm(seed))
    report(swept)
    check_pressure(swept)
    assert len(swept.hurts) == FAULTS
    assert not swept.verdict.broken


def report(swept: Swept) -> None:
    """For a person who reads the log of a run."""
    for hurt in (*swept.raged, *swept.hurts):
        print(
            f"{hurt.at:6.1f} s  {hurt.fault.kind.name:35} {hurt.in_flight:5} in flight, "
            f"answers {hurt.answers}, reads {hurt.reads} {hurt.note}"
        )
    print(f"storm {swept.raged_rate:.0f}/s; {swept.attempts} attempts in {swept.seconds:.0f} s")
    print("last words:", swept.last_words, "started again:", swept.restarts)
    print(swept.verdict, swept.logs)


def check_pressure(swept: Swept) -> None:
    """It was a test at all."""
    assert swept.raged_rate >= STORM_PER_SECOND_MIN
    killed = [
        hurt for hurt in swept.raged if hurt.fault.kind.how == "kill" and hurt.fault.kind.target != "postgres"
    ]
    assert sum(hurt.in_flight > 0 for hurt in killed) >= STORM_KILLS_MIN
    raged = {(hurt.fault.kind.target, hurt.fault.kind.how) for hurt in swept.raged}
    assert raged == KILLS.keys()
    words, requests = swept.last_words, sum(swept.last_words.values())
    assert words[HTTPStatus.OK] > requests / 3
    assert words[HTTPStatus.BAD_REQUEST] > 100
    assert words.keys() <= {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, NOT_APPLIED, UNKNOWN}
    assert swept.verdict.top_ups > 100
