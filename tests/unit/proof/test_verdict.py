"""The judge of a sweep notices each thing that must not have happened."""

from pathlib import Path

import pytest

from events.codec import decode_envelope, decode_fact
from tests.auditing import Told
from tests.chaos.load import NOT_APPLIED, UNKNOWN, Request
from tests.chaos.payments import TAX, TopUp
from tests.chaos.verdict import Verdict, judge_answer, judge_top_ups

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "wallet.credited.v1.json"
VALUE = GOLDEN.read_bytes()
ENVELOPE = decode_envelope(VALUE)
TOLD = Told(ENVELOPE, decode_fact(ENVELOPE), VALUE)
AMOUNT = 12_500
PAYMENT = "pay_3fGh7JkL9pQrStUvWxYz1"


def request(**other: object) -> Request:
    """One that was answered as the golden event says."""
    made = Request("k", ENVELOPE.subject, "credit", AMOUNT, patient=True)
    right = {"status": 200, "body": {"balance": AMOUNT}, "position": "7:3", "seen": ["200"]}
    for name, value in (right | other).items():
        setattr(made, name, value)
    return made


def judged(one: Request, *found: Told) -> Verdict:
    verdict = Verdict()
    judge_answer(verdict, one, list(found))
    return verdict


def test_a_true_answer_is_no_finding() -> None:
    verdict = judged(request(), TOLD)
    assert (verdict.acknowledged, verdict.lost, verdict.broken) == (1, 0, [])


def test_an_acknowledged_request_that_is_not_there_is_lost() -> None:
    verdict = judged(request())
    assert verdict.lost == 1
    assert verdict.broken


@pytest.mark.parametrize(
    "other",
    [
        {"position": "7:4"},
        {"customer": "cus_other"},
        {"body": {"balance": AMOUNT + 1}},
        {"amount": 5},
        {"entry_type": "debit"},
        {"status": 400, "body": {"code": "INSUFFICIENT_WALLET_FUNDS"}},
        {"status": 500},
        {"status": UNKNOWN},  # he asked until there was an outcome
        {"status": NOT_APPLIED, "patient": False},  # certainly not applied, it was said
        {"unseen_read": "200 as of 7:2"},
    ],
)
def test_an_answer_that_is_not_true_is_a_finding(other: dict[str, object]) -> None:
    assert judged(request(**other), TOLD).broken


def test_who_gave_up_may_find_it_or_not() -> None:
    for found in ((), (TOLD,)):
        assert not judged(request(status=UNKNOWN, patient=False), *found).broken


@pytest.mark.parametrize(
    ("events", "lost", "doubled"),
    [([TOLD], 0, 0), ([], 1, 0), ([TOLD, TOLD], 0, 1)],
    ids=["once", "lost", "twice"],
)
def test_a_top_up_counts_once(events: list[Told], lost: int, doubled: int) -> None:
    verdict = Verdict()
    judge_top_ups(verdict, [TopUp(PAYMENT, ENVELOPE.subject, AMOUNT + TAX)], {7: events})
    assert (verdict.lost, verdict.doubled, bool(verdict.broken)) == (lost, doubled, lost + doubled > 0)


def test_a_top_up_of_another_amount_is_a_finding() -> None:
    verdict = Verdict()
    judge_top_ups(verdict, [TopUp(PAYMENT, ENVELOPE.subject, AMOUNT)], {7: [TOLD]})
    assert verdict.broken
