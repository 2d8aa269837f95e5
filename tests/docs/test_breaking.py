"""The breaks of `tests/breaking.py` still fit the code that they break. Running them is done by hand."""

import pytest

from tests.breaking import BREAKS, Break
from tests.checkout import ROOT
from tests.proof.bugs import BUGS

EDITS = [edit._replace(name=bug.name) for bug in BUGS for edit in bug.edits]


@pytest.mark.parametrize("one", [*BREAKS, *EDITS], ids=lambda one: one.name)
def test_a_break_fits_the_code(one: Break) -> None:
    assert (ROOT / one.file).read_text().count(one.old) == 1, f"{one.file} has changed: write the break anew"
    assert one.old != one.new
    for test in one.tests:
        assert (ROOT / test).exists(), test
