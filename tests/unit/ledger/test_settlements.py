"""An invoice is paid from the wallet first; what its payment does not bring in after all is given back, once."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import decode_fact
from events.commands import AnyAsk, BlockCustomer, CloseCustomer
from events.facts import COUNTER_ACCOUNTS, Movement, WalletCredited
from events.money import AMOUNT_MAX
from events.requests import RequestTopUp, SettleInvoice
from events.upstream import RecordPayment
from services.ledger.batches.folding import Folding
from services.ledger.domain import invoice as invoice_module
from services.ledger.domain.foreign import Foreign
from services.ledger.domain.invoice import Invoice
from services.ledger.domain.rules import Rule
from tests.fakes import asking
from tests.unit.ledger.deck import CONFIGURED, Deck, envelopes, linked, replies
from tests.unit.ledger.telling import payment, refund

A = "cus_a"
CREDIT = asking.credit(100)


def settle(amount: int = 80, invoice: str = "inv_1", currency: str = "USD") -> SettleInvoice:
    return SettleInvoice(invoice_id=invoice, currency=currency, amount=amount)


def pay(at: int, status: str, name: str = "pay_1", invoice: str = "inv_1", **more: Any) -> RecordPayment:
    """What the payment method is asked for of that invoice."""
    return payment(at, status, name=name, invoice_id=invoice, wallet_action="none", **more)


def play(*asks: AnyAsk, deck: Deck | None = None) -> Deck:
    deck = deck or Deck()
    for ask in asks:
        deck.play(deck.asked(A, ask))
    return deck


def short(deck: Deck) -> int:
    return sum(b.short for s in deck.customers.values() if isinstance(s, Foreign) for b in s.booked.values())


FAILS, FAILS_TOO = pay(2, "failed"), pay(3, "cancelled", "pay_2")


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        pytest.param([CREDIT, settle(80)], (80, 20), id="all of it"),
        pytest.param([CREDIT, settle(130)], (100, 0), id="what is there; the rest is for the card"),
        pytest.param([settle(80)], (0, 0), id="nothing is there"),
        pytest.param([CREDIT, settle(80), settle(80)], (20, 0), id="again, with another key"),
        pytest.param([CREDIT, settle(80, currency="INR")], (0, 0), id="rupees pay no rupees that are not there"),
        pytest.param([CREDIT, settle(80, currency="EUR")], "UNSUPPORTED_CURRENCY", id="a currency not open"),
        pytest.param([CREDIT, settle(1), settle(1, currency="INR")], "UNSUPPORTED_CURRENCY", id="another currency"),
        pytest.param([CREDIT, BlockCustomer(), settle()], "CUSTOMER_BLOCKED", id="a blocked customer pays nothing"),
        pytest.param([CloseCustomer(), settle()], "CUSTOMER_CLOSED", id="a closed customer"),
    ],
)  # fmt: skip
def test_what_the_wallet_pays(asks: Sequence[AnyAsk], said: tuple[int, int] | str) -> None:
    deck = play(asking.REGISTER, *asks[:-1])
    [reply] = replies(deck.play(deck.asked(A, asks[-1])))
    if isinstance(said, str):
        assert reply.code == said
    else:
        assert (reply.applied, reply.balance_after, reply.object_id[:4]) == (*said, "set_")
        assert bool(reply.entry_id) == (said[0] > 0)


def test_a_settlement_of_a_stranger_is_refused() -> None:
    deck = Deck()
    assert replies(deck.play(deck.asked(A, settle())))[0].code == "NOT_FOUND"


def test_the_same_key_pays_once_and_says_the_same() -> None:
    deck = play(asking.REGISTER, CREDIT)
    first, again = replies(deck.play(deck.asked(A, settle(), key="k"), deck.asked(A, settle(), key="k")))
    assert (again.applied, again.object_id, again.replayed) == (first.applied, first.object_id, True)
    assert deck.balance(A) == 20


@pytest.mark.parametrize(
    ("asks", "balance", "lacking"),
    [
        pytest.param([settle()], 20, 0, id="paid"),
        pytest.param([settle(), pay(2, "succeeded")], 20, 0, id="the rest came in"),
        pytest.param([settle(), pay(2, "processing")], 20, 0, id="or is on its way"),
        pytest.param([settle(), FAILS], 100, 0, id="it failed: given back"),
        pytest.param([settle(), pay(2, "cancelled")], 100, 0, id="cancelled"),
        pytest.param([settle(), FAILS, FAILS], 100, 0, id="once"),
        pytest.param([settle(), FAILS, pay(4, "failed")], 100, 0, id="however often it is said"),
        pytest.param([settle(), FAILS, FAILS_TOO], 100, 0, id="two payments of one invoice: once"),
        pytest.param([settle(30), settle(40), FAILS], 100, 0, id="all settlements that are open"),
        pytest.param([settle(), FAILS, settle()], 20, 0, id="a new attempt"),
        pytest.param([settle(), FAILS, settle(), pay(4, "failed")], 20, 0, id="is not the old payment's"),
        pytest.param([settle(), FAILS, settle(), FAILS_TOO], 100, 0, id="but the new one's"),
        pytest.param([settle(), FAILS, settle(), pay(3, "succeeded", "pay_2")], 20, 0, id="and it succeeds"),
        pytest.param([FAILS, settle()], 20, 0, id="what failed before has no part in it"),
        pytest.param([settle(), pay(2, "failed", invoice="inv_2")], 20, 0, id="another invoice"),
        pytest.param([settle(), payment(2, "failed")], 20, 0, id="no invoice"),
        pytest.param([settle(), FAILS, pay(3, "succeeded")], 20, 0, id="it did not fail: taken again"),
        pytest.param([settle(), pay(3, "succeeded"), FAILS], 20, 0, id="what is older is not believed"),
        pytest.param([settle(), FAILS, pay(3, "succeeded"), pay(4, "failed")], 100, 0, id="to and fro"),
        pytest.param([settle(30), FAILS, settle(40), pay(3, "succeeded"), pay(4, "failed")], 100, 0,
                     id="what it had taken each time"),
        pytest.param([settle(), FAILS, asking.debit(90), pay(3, "succeeded")], 0, 70, id="taken, as far as there"),
        pytest.param([settle(), FAILS, asking.debit(90), pay(3, "succeeded"), pay(4, "failed")], 10, 0,
                     id="only what was taken is given back"),
        pytest.param([settle(), FAILS, asking.debit(100), refund(2, 30, to_wallet=True), pay(3, "succeeded")], 0, 50,
                     id="given first, so that less is lacking"),
        pytest.param([settle(), FAILS, refund(3, 10)], 100, 0, id="a refund leaves it alone"),
        pytest.param([settle(100), CloseCustomer(), FAILS], 0, 0, id="a closed customer gets nothing"),
    ],
)  # fmt: skip
def test_the_wallets_part_of_a_payment_that_fails(asks: Sequence[AnyAsk], balance: int, lacking: int) -> None:
    deck = play(asking.REGISTER, CREDIT, *asks)
    assert (deck.balance(A), short(deck)) == (balance, lacking)


@pytest.mark.parametrize(
    ("failed_at", "balance"),
    [
        pytest.param(60, 50, id="by then only the first attempt was settled"),
        pytest.param(298, 100, id="clocks differ, and some tell whole seconds"),
        pytest.param(297, 50, id="by no more than that"),
    ],
)
def test_late_news_of_a_failure_leaves_what_was_settled_since(failed_at: int, balance: int) -> None:
    deck = play(asking.REGISTER, CREDIT, settle(50))
    deck.now += 300_000_000
    play(settle(50), pay(360, "succeeded", "pay_2"), pay(failed_at, "failed"), deck=deck)
    assert deck.balance(A) == balance


def test_many_settlements_of_one_invoice_are_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the two earliest count as one, of the later moment."""
    monkeypatch.setattr(invoice_module, "PARTS_MAX", 2)
    deck = play(asking.REGISTER, CREDIT)
    for _ in range(3):
        play(settle(10), deck=deck)
        deck.now += 60_000_000
    assert play(pay(30, "failed"), deck=deck).balance(A) == 70
    assert play(pay(90, "failed", "pay_2"), deck=deck).balance(A) == 90
    assert play(pay(150, "failed", "pay_3"), deck=deck).balance(A) == 100


def test_what_a_payment_and_an_invoice_can_claim_is_limited() -> None:
    full: list[AnyAsk] = [asking.REGISTER, asking.credit(AMOUNT_MAX), settle(AMOUNT_MAX)]
    deck = play(*full)
    assert replies(deck.play(deck.asked(A, settle(1))))[0].code == "BALANCE_LIMIT_EXCEEDED"
    assert play(*full, FAILS).balance(A) == AMOUNT_MAX
    twice = play(*full, FAILS, settle(AMOUNT_MAX), pay(3, "succeeded"), pay(4, "failed"))
    assert (twice.balance(A), short(twice)) == (
        0,
        0,
    )  # the first part is forgiven, the second stays the invoice's


def test_a_rule_that_is_off_gives_nothing_back() -> None:
    deck = Deck(CONFIGURED._replace(wallet_rules=frozenset(Rule) - {Rule.PAYMENT_REVERSAL}))
    assert play(asking.REGISTER, CREDIT, settle(), FAILS, deck=deck).balance(A) == 20


def test_one_command_writes_to_three_streams_in_one_chain() -> None:
    deck, heads = Deck(), {n: row.head for n, row in Deck().rows.items()}
    for ask in (asking.REGISTER, CREDIT, settle(), FAILS):
        batch = deck.play(deck.asked(A, ask))
        assert linked(batch, heads)
    told = [(event.type, event.stream, event.streamversion) for event in envelopes(batch)]
    assert told == [
        ("payment.recorded.v1", "payment-pay_1", 1),
        ("invoice.settlement_returned.v1", "invoice-inv_1", 2),
        ("wallet.credited.v1", "customer-cus_a", 4),
    ]
    entry = decode_fact(envelopes(batch)[-1])
    assert isinstance(entry, Movement)
    assert (entry.cause, entry.reference, entry.amount) == ("payment_reversal", "pay_1", 80)


def test_what_is_not_in_memory_is_read_from_all_three_streams() -> None:
    deck = Deck()
    events = [event for ask in (asking.REGISTER, CREDIT, settle(), FAILS)
              for event in deck.play(deck.asked(A, ask)).events]  # fmt: skip
    kinds = {other.place: other.category for other in deck.asked(A, FAILS).others}
    assert set(kinds.values()) == {"payment", "invoice"}
    folding = Folding({event.stream for event in events}, {}, kinds)
    for event in events:
        folding.take(event.stream, event.version, event.value)
    folding.end_run(whole=True)
    assert folding.states == deck.customers


def test_a_top_up_that_is_asked_for_moves_nothing() -> None:
    deck = play(asking.REGISTER)
    [reply] = replies(deck.play(deck.asked(A, RequestTopUp(currency="USD", amount=500))))
    assert (reply.amount, reply.object_id[:4], deck.balance(A)) == (500, "top_", 0)
    for who, currency, code in ((A, "EUR", "UNSUPPORTED_CURRENCY"), ("cus_b", "USD", "NOT_FOUND")):
        [refused] = replies(deck.play(deck.asked(who, RequestTopUp(currency=currency, amount=500))))
        assert refused.code == code
    play(asking.credit(AMOUNT_MAX - 5), deck=deck)
    codes = [
        replies(deck.play(deck.asked(A, RequestTopUp(currency="USD", amount=n))))[0].code for n in (5, 6)
    ]
    assert codes == ["", "BALANCE_LIMIT_EXCEEDED"]
    play(asking.debit(AMOUNT_MAX - 5), deck=deck)
    play(payment(1, request_id=reply.object_id), deck=deck)
    assert deck.balance(A) == 100


attempts = st.one_of(
    st.builds(settle, st.integers(1, 9), st.sampled_from(["inv_1", "inv_2"])),
    st.builds(
        pay,
        st.integers(1, 6),
        st.sampled_from(["failed", "cancelled", "processing", "succeeded"]),
        st.sampled_from(["pay_1", "pay_2"]),
        st.sampled_from(["inv_1", "inv_2"]),
    ),
    st.builds(asking.debit, st.integers(1, 9)),
    st.builds(asking.credit, st.integers(1, 9)),
)


@given(st.lists(attempts, max_size=14))
def test_nothing_is_given_back_that_was_not_paid(asks: list[AnyAsk]) -> None:
    deck = Deck()
    moved = []
    for ask in [asking.REGISTER, asking.credit(20), *asks]:
        batch = deck.play(deck.asked(A, ask))
        moved += [fact for e in envelopes(batch) if isinstance(fact := decode_fact(e), Movement)]
    signs = [(1 if isinstance(fact, WalletCredited) else -1, fact) for fact in moved]
    assert all(fact.balance_after >= 0 for _, fact in signs)
    assert all(fact.counter_account == COUNTER_ACCOUNTS[fact.cause] for fact in moved)
    assert deck.balance(A) == sum(sign * fact.amount for sign, fact in signs)
    sales = -sum(s * f.amount for s, f in signs if f.cause in ("invoice_payment", "payment_reversal"))
    invoices = [state for state in deck.customers.values() if isinstance(state, Invoice)]
    parts = [state for state in deck.customers.values() if isinstance(state, Foreign)]
    back = sum(one.moved for state in parts for one in state.booked.values())
    claimed = sum(sum(state.from_wallet.values()) for state in parts)
    applied = sum(invoice.open for invoice in invoices) + claimed
    assert 0 <= sales == applied - back
    assert 0 <= back <= claimed


@given(st.lists(st.builds(pay, st.integers(1, 6), st.sampled_from(["failed", "processing", "succeeded"])),
                max_size=6), st.randoms(use_true_random=False))  # fmt: skip
def test_the_order_in_which_a_payment_is_told_of_does_not_matter(asks, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(asks)
    random.shuffle(shuffled)
    paid: list[AnyAsk] = [asking.REGISTER, CREDIT, settle()]
    assert play(*paid, *shuffled).balance(A) == play(*paid, *asks).balance(A)
