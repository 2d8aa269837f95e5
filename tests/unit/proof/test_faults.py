"""Plans of faults: a seed is a plan, and a long sweep leaves no kind out."""

from collections import Counter

from tests.chaos.faults import KILLS, KINDS, drawn, storm


def test_a_seed_repeats_a_plan() -> None:
    assert drawn(7, 60) == drawn(7, 60) != drawn(8, 60)
    assert storm(7) == storm(7) != storm(8)


def test_two_hundred_faults_are_of_every_kind() -> None:
    counts = Counter(fault.kind for fault in drawn(1, 200))
    assert counts.keys() == set(KINDS)
    assert min(counts.values()) >= 3


def test_a_storm_has_its_kills() -> None:
    counts = Counter((fault.kind.target, fault.kind.how) for fault in storm(1))
    assert counts == Counter(KILLS)
    assert sum(counts.values()) >= 20
