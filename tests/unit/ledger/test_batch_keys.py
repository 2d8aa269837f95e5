"""Idempotency keys and keyless retries, within one batch and between batches."""

from collections.abc import Callable

import pytest

from events.commands import CustomerAsk
from services.ledger.batches.admission import Asked
from tests.fakes.asking import REGISTER, credit, debit
from tests.unit.ledger.deck import Deck, outcomes, replies

A = "cus_a"
Play = Callable[..., list[str]]


@pytest.fixture
def deck() -> Deck:
    deck = Deck()
    deck.known(A, balance=100)
    return deck


@pytest.fixture(params=["one batch", "a batch each"])
def play(request: pytest.FixtureRequest, deck: Deck) -> Play:
    """Whether a repeat is found in the overlay or in the store must make no difference."""

    def together(*asked: Asked) -> list[str]:
        return outcomes(deck.play(*asked))

    def apart(*asked: Asked) -> list[str]:
        return [outcome for one in asked for outcome in outcomes(deck.play(one))]

    return together if request.param == "one batch" else apart


@pytest.mark.parametrize(
    ("ask", "first"),
    [(credit(5), "applied"), (debit(5), "applied"), (debit(101), "refused"), (REGISTER, "refused")],
)
def test_a_repeated_key_gets_the_same_outcome_and_nothing_happens(
    deck: Deck, play: Play, ask: CustomerAsk, first: str
) -> None:
    before = deck.rows[deck.asked(A, ask, key="x").record.shard].sequence
    assert play(*(deck.asked(A, ask, key="k") for _ in range(3))) == [first, first + "+", first + "+"]
    assert sum(row.sequence for row in deck.rows.values()) == before + 1


def test_a_replay_says_what_the_first_answer_said(deck: Deck) -> None:
    [first] = replies(deck.play(deck.asked(A, debit(30), key="k")))
    deck.play(deck.asked(A, credit(7)))
    deck.now += 86_400_000_000
    [again] = replies(deck.play(deck.asked(A, debit(30), key="k")))
    for name in ("position", "time", "registered", "entry_id", "amount", "balance_before", "balance_after"):
        assert getattr(again, name) == getattr(first, name)
    assert (first.replayed, again.replayed) == (False, True)


def test_a_refusal_is_replayed_even_when_it_would_be_applied_now(deck: Deck, play: Play) -> None:
    asked = [
        deck.asked(A, debit(150), key="k"),
        deck.asked(A, credit(100)),
        deck.asked(A, debit(150), key="k"),
    ]
    assert play(*asked) == ["refused", "applied", "refused+"]
    assert deck.balance(A) == 200


@pytest.mark.parametrize("other", [credit(6), debit(5), credit(5, "INR"), REGISTER])
def test_a_key_with_another_request_is_no_event(deck: Deck, play: Play, other: CustomerAsk) -> None:
    before = dict(deck.rows)
    assert play(deck.asked(A, credit(5), key="k"), deck.asked(A, other, key="k")) == ["applied", "key_reused"]
    assert deck.balance(A) == 105
    assert sum(row.sequence for row in deck.rows.values()) == 1 + sum(r.sequence for r in before.values())
    assert play(deck.asked(A, credit(5), key="k")) == ["applied+"]


def test_a_reused_key_says_so(deck: Deck) -> None:
    batch = deck.play(deck.asked(A, credit(5), key="k"), deck.asked(A, credit(6), key="k"))
    reply = replies(batch)[1]
    assert (reply.code, reply.position) == ("IDEMPOTENCY_KEY_REUSED", "")
    assert batch.dead_letters == []


def test_the_same_record_twice_is_answered_twice_and_applied_once(deck: Deck, play: Play) -> None:
    """Without a key, too: its receipt is under the command id."""
    asked = deck.asked(A, credit(5))
    assert play(asked, asked) == ["applied", "applied+"]
    assert deck.balance(A) == 105


def test_two_keyless_commands_alike_are_two_commands(deck: Deck, play: Play) -> None:
    assert play(deck.asked(A, credit(5)), deck.asked(A, credit(5))) == ["applied", "applied"]
    assert deck.balance(A) == 110


# --- keyless retries: `attempt` is the caller's x-stainless-retry-count ---


def test_an_automatic_retry_gets_the_answer_of_what_it_repeats(deck: Deck, play: Play) -> None:
    assert play(deck.asked(A, debit(5)), deck.asked(A, debit(5), attempt=1)) == ["applied", "applied+"]
    assert deck.balance(A) == 95


def test_retries_chain_from_attempt_to_attempt(deck: Deck, play: Play) -> None:
    asked = [deck.asked(A, debit(5), attempt=attempt) for attempt in (0, 1, 2, 3)]
    assert play(*asked) == ["applied", "applied+", "applied+", "applied+"]
    assert deck.balance(A) == 95


def test_each_original_answers_for_one_retry(deck: Deck, play: Play) -> None:
    """Two like debits and two lost answers: both retries are answered, a third one is a debit of its own."""
    asked = [deck.asked(A, debit(5), attempt=attempt) for attempt in (0, 0, 1, 1, 1)]
    assert play(*asked) == ["applied", "applied", "applied+", "applied+", "applied"]
    assert deck.balance(A) == 85


def test_a_retry_that_is_read_again_gets_its_answer_again(deck: Deck, play: Play) -> None:
    """The log is read from its beginning: of the three commands only the first has a receipt of its own."""
    asked = [deck.asked(A, debit(5), attempt=attempt) for attempt in (0, 1, 2)]
    assert play(*asked, *asked, asked[1]) == ["applied"] + ["applied+"] * 6
    assert deck.balance(A) == 95


def test_a_retry_that_is_read_again_takes_no_other_ones_place(deck: Deck, play: Play) -> None:
    first, second = deck.asked(A, debit(5)), deck.asked(A, debit(5))
    retries = [deck.asked(A, debit(5), attempt=1) for _ in range(2)]
    third = deck.asked(A, debit(5), attempt=1)
    asked = [first, second, retries[0], retries[0], retries[1], retries[0], third]
    assert play(*asked) == ["applied", "applied", "applied+", "applied+", "applied+", "applied+", "applied"]


def test_two_retries_repeat_two_events(deck: Deck) -> None:
    first = replies(deck.play(*(deck.asked(A, debit(5), attempt=attempt) for attempt in (0, 0, 1, 1))))
    assert [reply.position for reply in first[:2]] == [reply.position for reply in first[2:]]


@pytest.mark.parametrize("attempt", [2, 3])
def test_a_retry_whose_predecessor_never_arrived_is_decided(deck: Deck, play: Play, attempt: int) -> None:
    assert play(deck.asked(A, debit(5)), deck.asked(A, debit(5), attempt=attempt)) == ["applied", "applied"]


def test_a_retry_of_what_never_arrived_is_decided_and_may_be_retried(deck: Deck, play: Play) -> None:
    asked = [deck.asked(A, debit(5), attempt=attempt) for attempt in (1, 2)]
    assert play(*asked) == ["applied", "applied+"]


@pytest.mark.parametrize("other", [debit(6), credit(5), debit(5, "INR")])
def test_only_the_same_print_is_a_retry(deck: Deck, play: Play, other: CustomerAsk) -> None:
    assert play(deck.asked(A, debit(5)), deck.asked(A, other, attempt=1))[1] in ("applied", "refused")


def test_a_keyed_command_neither_matches_nor_is_matched(deck: Deck, play: Play) -> None:
    asked = [
        deck.asked(A, debit(5), key="k"),
        deck.asked(A, debit(5), attempt=1),
        deck.asked(A, debit(5), key="k2", attempt=2),
    ]
    assert play(*asked) == ["applied", "applied", "applied"]


def test_a_refused_keyless_command_is_retried_into_its_refusal(deck: Deck, play: Play) -> None:
    assert play(deck.asked(A, debit(500)), deck.asked(A, debit(500), attempt=1)) == ["refused", "refused+"]
