"""Which mutants need no run, and which count as noticed."""

from collections import Counter

import pytest

from tests.proof.mutation import KILLED, Mutated, changes_nothing


@pytest.mark.parametrize(
    ("change", "nothing"),
    [
        pytest.param("-        case _:\n-            assert_never(fact)", True, id="the case that cannot be"),
        pytest.param(
            "-            assert_never(ask)\n+            assert_never(None)", True, id="what it says"
        ),
        pytest.param("-        case Seen():\n-            return seen", False, id="a case that can be"),
        pytest.param("-        case _:\n-            return seen", False, id="all other cases"),
        pytest.param("-    amount = 1\n+    amount = None", False, id="anything else"),
    ],
)
def test_only_what_types_rule_out_is_not_run(change: str, nothing: bool) -> None:
    assert changes_nothing(change) == nothing


def test_what_no_test_runs_is_not_noticed() -> None:
    assert not KILLED & {"survived", "no tests", "unreachable"}
    assert (
        Mutated("chain", Counter(killed=2, survived=1), {}).line == "chain: 3 mutants: 2 killed, 1 survived"
    )
