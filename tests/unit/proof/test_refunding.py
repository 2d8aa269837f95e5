"""The judge of the race of refunds sees what must not be."""

from collections.abc import Callable

import pytest

from tests.proof.answering import Heard, Payment
from tests.proof.refunding import PAYMENTS, Refunded, judge, plan

Bend = Callable[[Refunded, Heard], object]


def good() -> tuple[Refunded, Heard]:
    """100 paid: 60 by upstream, 40 into the wallet, and 50 that failed."""
    refunded = Refunded({"pay_0": Payment("pay_0", "cus_0", 100)})
    refunded.statuses.update(["200", "200", "200", "400 PAYMENT_ALREADY_REFUNDED"])
    refunded.outcomes["a"].add(("200", "ref_1"))
    refunded.by_upstream = {"ref_1": ("pay_0", 60), "ref_2": ("pay_0", 50)}
    refunded.to_wallet = {"ref_3": ("pay_0", 40)}
    heard = Heard(asked={**refunded.by_upstream}, given={"ref_1": ("pay_0", 60)}, failed={"ref_2"})
    heard.ids["ref_1"].add("1:1")
    return refunded, heard


def test_what_is_right_is_not_broken() -> None:
    refunded, heard = good()
    judge(refunded, heard)
    assert refunded.broken == []
    assert refunded.failed == 1


BENDS: dict[str, Bend] = {
    "answers ['504 OUTCOME_UNKNOWN']": lambda made, _: made.statuses.update(["504 OUTCOME_UNKNOWN"]),
    "a has outcomes": lambda made, _: made.outcomes["a"].add(("200", "ref_2")),
    "answered and asked of upstream differ: [('ref_1'": lambda _, heard: heard.asked.pop("ref_1"),
    "answered and asked of upstream differ: [('ref_4'": lambda _, heard: heard.asked.update(
        ref_4=("pay_0", 1)
    ),
    "ref_1 was published as ['1:1', '1:2']": lambda _, heard: heard.ids["ref_1"].add("1:2"),
    "pay_0: 101 of 100 was given back": lambda made, _: made.to_wallet.update(ref_4=("pay_0", 1)),
    "pay_0: 40 of 100 was given back": lambda _, heard: heard.given.clear(),
}


@pytest.mark.parametrize("words", BENDS)
def test_what_is_bent_is_broken(words: str) -> None:
    refunded, heard = good()
    BENDS[words](refunded, heard)
    judge(refunded, heard)
    assert any(line.startswith(words) for line in refunded.broken), refunded.broken


@pytest.mark.parametrize("retries", [480, 10_000])
def test_more_is_asked_than_was_paid(retries: int) -> None:
    asks = plan(7, retries)
    assert len(asks) == retries
    for number in range(PAYMENTS):
        of = [ask for ask in asks if ask.payment.name == f"pay_{number}"]
        keyed = {ask.key: ask for ask in of if ask.key}
        assert sum(ask.amount or 0 for ask in keyed.values()) > of[0].payment.total
        assert len(of) > 2 * len(keyed)
    assert len({ask._replace(attempt=0) for ask in asks if ask.key}) == len(
        {ask.key for ask in asks if ask.key}
    )
    assert plan(7, retries) == asks != plan(8, retries)
