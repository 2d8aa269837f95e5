"""Giving a payment back, as a table: asked of upstream or done into the wallet, never more than was paid."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_fact
from events.commands import AnyAsk, BlockCustomer, CloseCustomer
from events.facts import CustomerCommandRefused, Refusal
from events.replies import Reply
from events.requested import RefundMadeToWallet, RefundRequested
from events.requests import RefundItem, RefundToWallet, RequestRefund
from events.sealing import unseal
from services.ledger.domain.foreign import Foreign
from services.ledger.domain.refunds import refundable
from services.ledger.domain.rules import Rule
from tests import seeds
from tests.fakes import asking
from tests.unit.ledger.deck import CONFIGURED, Deck, envelopes, outcomes, replies
from tests.unit.ledger.telling import dispute, payment, purchase, refund

A = "cus_a"
ALL = RequestRefund(payment_id="pay_1")
TO_WALLET = RefundToWallet(payment_id="pay_1")
PROCESSING = "EXISTING_REFUND_REQUEST_PROCESSING"
REFUNDED = "PAYMENT_ALREADY_REFUNDED"
TOO_MUCH = "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"


def some(amount: int, **more: Any) -> RequestRefund:
    return RequestRefund(payment_id="pay_1", amount=amount, **more)


def to_wallet(amount: int, **more: Any) -> RefundToWallet:
    return RefundToWallet(payment_id="pay_1", amount=amount, **more)


def items(*amounts: int) -> RequestRefund:
    parts = [RefundItem(item_id=f"pdt_{n}", amount=amount) for n, amount in enumerate(amounts)]
    return RequestRefund(payment_id="pay_1", items=parts)


def last(deck: Deck, asks: Sequence[AnyAsk]) -> Reply:
    for ask in asks:
        batch = deck.play(deck.asked(A, ask))
    [reply] = replies(batch)
    return reply


def held(deck: Deck) -> int:
    """Of the payment, by refunds that have not failed."""
    [state] = [one for one in deck.customers.values() if isinstance(one, Foreign)]
    assert state.payment is not None
    return state.payment.total - refundable(state)


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        pytest.param([purchase(), ALL], 110, id="all of it"),
        pytest.param([purchase(), some(30)], 30, id="a part"),
        pytest.param([purchase(), items(30, 20)], 50, id="items of the cart"),
        pytest.param([purchase(), some(110)], 110, id="no less than all"),
        pytest.param([purchase(), some(30, currency="USD")], 30, id="in the currency it was paid in"),
        pytest.param([payment(), ALL], 110, id="a top-up may go back to the card"),
        pytest.param([purchase(), refund(), ALL], 60, id="what is left"),
        pytest.param([purchase(), refund(amount=1, currency="INR"), ALL], REFUNDED, id="nobody knows what is left"),
        pytest.param([purchase(), refund(status="failed"), ALL], 110, id="a refund that failed holds nothing"),
        pytest.param([purchase(), to_wallet(50), ALL], 60, id="what went to the wallet is gone"),
        pytest.param([ALL], "NOT_FOUND", id="an unknown customer"),
        pytest.param([asking.REGISTER, ALL], "NOT_FOUND", id="an unknown payment"),
        pytest.param([refund(), ALL], "NOT_FOUND", id="a payment of which only a refund is known"),
        pytest.param([purchase(status="processing"), ALL], "PAYMENT_NOT_SUCCEEDED", id="not yet paid"),
        pytest.param([purchase(status="failed"), ALL], "PAYMENT_NOT_SUCCEEDED", id="never paid"),
        pytest.param([purchase(total=0), ALL], "ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", id="nothing was paid"),
        pytest.param([purchase(), some(1, currency="INR")], "UNSUPPORTED_CURRENCY", id="in another currency"),
        pytest.param([purchase(), some(111)], TOO_MUCH, id="more than was paid"),
        pytest.param([purchase(), items(100, 11)], TOO_MUCH, id="items of more than was paid"),
        pytest.param([purchase(), refund(), some(61)], TOO_MUCH, id="more than is left"),
        pytest.param([purchase(), refund(amount=110), ALL], REFUNDED, id="given back before"),
        pytest.param([purchase(), refund(amount=None), ALL], REFUNDED, id="given back before, all of it"),
        pytest.param([purchase(), TO_WALLET, ALL], REFUNDED, id="given back into the wallet"),
        pytest.param([purchase(), ALL, ALL], PROCESSING, id="asked for before"),
        pytest.param([purchase(), some(30), some(30)], PROCESSING, id="a part was asked for before"),
        pytest.param([purchase(), refund(status="pending"), some(1)], PROCESSING, id="upstream is at it"),
        pytest.param([purchase(), refund(status="review"), some(1)], PROCESSING, id="upstream looks into it"),
        pytest.param([purchase(), CloseCustomer(), ALL], "CUSTOMER_CLOSED", id="a closed customer"),
        pytest.param([purchase(), BlockCustomer(), ALL], 110, id="a blocked customer gets his money back"),
    ],
)  # fmt: skip
def test_what_can_be_asked_of_upstream(asks: Sequence[AnyAsk], said: int | str) -> None:
    deck = Deck()
    reply = last(deck, asks)
    assert (reply.amount if isinstance(said, int) else reply.code) == said
    if isinstance(said, int):
        assert (reply.object_id[:4], reply.currency, reply.is_partial) == ("ref_", "USD", said < 110)


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        pytest.param([purchase(), TO_WALLET], 110, id="all of it"),
        pytest.param([purchase(), to_wallet(50), to_wallet(50)], 50, id="in parts"),
        pytest.param([purchase(), refund(), TO_WALLET], 60, id="what is left"),
        pytest.param([purchase(), some(50), TO_WALLET], 60, id="what was not asked for"),
        pytest.param([purchase(), ALL, TO_WALLET], PROCESSING, id="all was asked for"),
        pytest.param([purchase(), TO_WALLET, TO_WALLET], REFUNDED, id="once"),
        pytest.param([purchase(), to_wallet(50), to_wallet(61)], TOO_MUCH, id="more than is left"),
        pytest.param([purchase(status="failed"), TO_WALLET], "PAYMENT_NOT_SUCCEEDED", id="never paid"),
        pytest.param([payment(), TO_WALLET], "REFUND_TO_WALLET_NOT_ALLOWED", id="a top-up is there already"),
        pytest.param([purchase(currency="EUR"), TO_WALLET], "UNSUPPORTED_CURRENCY", id="a currency not open"),
        pytest.param([purchase(), asking.credit(2**53 - 50), TO_WALLET], "BALANCE_LIMIT_EXCEEDED", id="no room"),
        pytest.param([purchase(), CloseCustomer(), TO_WALLET], "CUSTOMER_CLOSED", id="a closed customer"),
    ],
)  # fmt: skip
def test_what_can_go_into_the_wallet(asks: Sequence[AnyAsk], said: int | str) -> None:
    deck = Deck()
    before = last(deck, asks[:-1])
    balance = deck.balance(A)
    reply = last(deck, asks[-1:])
    assert (reply.amount if isinstance(said, int) else reply.code) == said, before
    assert deck.balance(A) - balance == (said if isinstance(said, int) else 0)


def test_a_rule_that_is_off_lets_nothing_into_the_wallet() -> None:
    deck = Deck(CONFIGURED._replace(wallet_rules=frozenset(Rule) - {Rule.REFUND_TO_WALLET}))
    assert last(deck, [purchase(), TO_WALLET]).code == "REFUND_TO_WALLET_NOT_ALLOWED"
    assert deck.balance(A) == 0


def test_a_top_up_may_go_into_the_wallet_where_nothing_else_brings_it_there() -> None:
    deck = Deck(CONFIGURED._replace(wallet_rules=frozenset(Rule) - {Rule.TOP_UP}))
    assert last(deck, [payment(), TO_WALLET]).amount == deck.balance(A) == 110


def test_what_a_rule_has_given_is_not_given_again_once_it_is_switched_off() -> None:
    deck = Deck()
    last(deck, [payment(), dispute(amount=30)])
    assert deck.balance(A) == 70
    deck.configured = CONFIGURED._replace(wallet_rules=frozenset(Rule) - {Rule.TOP_UP})
    assert last(deck, [TO_WALLET]).code == "REFUND_TO_WALLET_NOT_ALLOWED"
    last(deck, [refund(4, to_wallet=True)])
    last(deck, [refund(5, 40, name="ref_2")])
    assert deck.balance(A) == 70, "nor is it taken, where that is switched off"
    last(deck, [dispute(6, amount=110)])
    last(deck, [refund(7, 70, name="ref_3")])
    assert deck.balance(A) == 0, "nor does what went to the card give back what a dispute holds"
    last(deck, [dispute(8, "dispute_won", 110)])
    assert deck.balance(A) == 100


def test_of_a_payment_that_nobody_knows_nothing_can_be_given_back() -> None:
    assert refundable(Foreign()) == 0


def test_upstream_answers_by_the_id_that_the_asker_was_given() -> None:
    deck = Deck()
    asked = last(deck, [purchase(), some(30)]).object_id
    assert held(deck) == 30
    last(deck, [refund(0, 30, "pending", name=asked)])  # long before: a request has no time
    assert last(deck, [some(1)]).code == PROCESSING
    last(deck, [refund(4, 30, "failed", name=asked)])
    assert held(deck) == 0
    again = last(deck, [some(30)]).object_id
    last(deck, [refund(5, 30, name=again)])
    assert (held(deck), last(deck, [ALL]).amount) == (30, 80)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("news", "left"),
    [
        pytest.param([(None, "succeeded")], 70, id="done"),
        pytest.param([(None, "pending"), (None, "succeeded")], 70, id="looked into, and done"),
        pytest.param([(20, "pending"), (None, "succeeded")], 70, id="another amount before"),
        pytest.param([(None, "pending"), (20, "succeeded")], 80, id="of less, in the end"),
        pytest.param([(None, "failed")], 100, id="not done"),
    ],
)
def test_what_we_asked_for_and_upstream_tells_no_amount_of_is_as_much_as_was_asked_for(
    news: Sequence[tuple[int | None, str]], left: int, turned: bool
) -> None:
    """It would take the whole top-up back, however little was refunded; in whatever order upstream is heard."""
    deck = Deck()
    asked = last(deck, [payment(), some(30)]).object_id
    told = [refund(3 + at, amount, status, name=asked) for at, (amount, status) in enumerate(news)]
    last(deck, told[::-1] if turned else told)
    assert deck.balance(A) == left
    assert held(deck) == 100 - left


def test_a_refund_of_upstreams_own_without_an_amount_is_still_of_all() -> None:
    deck = Deck()
    last(deck, [payment(), some(30), refund(3, None, name="ref_theirs")])
    assert deck.balance(A) == 0


def test_a_refund_into_the_wallet_is_taken_back_when_upstream_says_that_it_failed() -> None:
    deck = Deck()
    made = last(deck, [purchase(), to_wallet(50)]).object_id
    last(deck, [asking.debit(20), refund(0, 50, "failed", name=made, to_wallet=True)])
    assert deck.balance(A) == 0  # 20 are lacking, and a fact
    assert held(deck) == 0


def test_what_is_recorded_of_a_request_is_sealed_where_it_names_people() -> None:
    deck = Deck()
    last(deck, [purchase()])
    batch = deck.play(deck.asked(A, some(30, reason="broken", metadata={"who": "Mai"})))
    [event] = envelopes(batch)
    assert b"broken" not in bytes(event.data)
    fact = unseal(decode_fact(event), bytes(32), event.stream, event.id)
    assert isinstance(fact, RefundRequested)
    assert (event.stream, fact.personal.reason, fact.personal.metadata) == (  # type: ignore[union-attr]
        "payment-pay_1",
        "broken",
        {"who": "Mai"},
    )


def test_a_refusal_names_what_it_is_about() -> None:
    deck = Deck()
    last(deck, [purchase()])
    [event] = envelopes(deck.play(deck.asked(A, some(111))))
    fact = replace(decode_fact(event), sealed=UNSET)
    assert fact == CustomerCommandRefused(
        command="refund.request.v1",
        refusal=Refusal(TOO_MUCH),
        amount=111,
        reference="pay_1",
    )
    assert event.stream == "customer-cus_a"


def test_the_refund_comes_before_its_credit_and_names_what_moved() -> None:
    deck = Deck()
    last(deck, [purchase()])
    first, entry = map(decode_fact, envelopes(deck.play(deck.asked(A, TO_WALLET))))
    assert isinstance(first, RefundMadeToWallet)
    assert [effect.moved for effect in first.effects] == [110]
    assert (entry.cause, entry.reference) == ("refund", first.refund.refund_id)  # type: ignore[union-attr]


RETRIES = 2_500
"""Of each kind: 10,000 in all."""


@pytest.mark.parametrize("ask", [ALL, TO_WALLET, some(60), to_wallet(60)], ids=lambda a: type(a).__name__)
def test_thousands_of_retries_give_back_once(ask: RequestRefund | RefundToWallet) -> None:
    """With one key, with keys of their own, and with none, in batches of any size, some of them a second time."""
    dice = random.Random(seeds.chosen())
    deck = Deck()
    last(deck, [purchase()])
    left = RETRIES
    told: list[str] = []
    while left:
        size = min(left, dice.randint(1, 500))
        keys = [dice.choice([None, "one", f"own {dice.randrange(2_000)}"]) for _ in range(size)]
        asked = [
            deck.asked(A, ask, attempt=dice.randrange(3), **({} if k is None else {"key": k})) for k in keys
        ]
        told += outcomes(deck.play(*asked))
        left -= size
    assert told.count("applied") == 1
    assert held(deck) == (110 if ask.amount is UNSET else 60)
    assert deck.balance(A) == (held(deck) if isinstance(ask, RefundToWallet) else 0)
