"""Bugs put back into a copy of the code are found by the simulation, and soon."""

import pytest

from tests.proof.bugs import BUGS, hunt

SEED = 0
HISTORIES_MAX = 100


@pytest.mark.timeout(300)
def test_every_bug_is_found() -> None:
    found = list(hunt(SEED, jobs=1))
    assert [one.name for one in found] == [bug.name for bug in BUGS]
    assert not [one.line for one in found if not one.promise or one.histories > HISTORIES_MAX]
