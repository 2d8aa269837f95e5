"""The pure core and the oracle give the same answers, whatever they are asked; where they do not, it is seen."""

import pytest

from tests import seeds
from tests.proof import deals, model

STEPS = 1_000


def test_the_core_answers_as_the_oracle() -> None:
    seed = seeds.chosen()
    steps, broken = model.core(seed, STEPS)
    assert broken is None, broken
    assert steps >= STEPS


def test_another_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "OPEN", {"USD", "INR", "EUR"})
    _, broken = model.core(1, STEPS, shrink=False)
    assert broken is not None
    assert "EUR" in broken


def test_another_rule_about_purchases_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: what is refunded into the wallet counts as gone back to the card."""
    monkeypatch.setattr(deals, "_into_wallet", lambda _: False)
    _, broken = model.run(model.DealMachine, 1, STEPS, model.STEPS_MAX, shrink=False)
    assert broken is not None
