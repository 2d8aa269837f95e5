"""Whatever comes from upstream, in any order and however often: the same state, and no money from nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_fact
from events.commands import AnyAsk
from events.facts import COUNTER_ACCOUNTS, Movement, WalletCredited
from events.requests import RefundToWallet, RequestRefund
from events.upstream import Named, RecordDispute, RecordPayment, RecordRefund
from services.ledger.domain.customer import Customer
from services.ledger.domain.foreign import Foreign
from services.ledger.domain.states import State
from tests.fakes import asking
from tests.unit.ledger import telling
from tests.unit.ledger.deck import Deck, envelopes
from tests.unit.ledger.telling import dispute, payment, refund

A = "cus_a"
moments = st.integers(1, 6)
totals = st.integers(0, 12)
payments = st.builds(
    payment,
    moments,
    st.sampled_from(["processing", "succeeded", "succeeded", "failed"]),
    totals,
    st.integers(0, 3),
    wallet_action=st.just("top_up"),
    customer=st.just(Named()),
)
purchases = st.builds(
    payment, moments, st.sampled_from(["succeeded", "failed"]), totals, wallet_action=st.just("none")
)
AT_REST = telling.told(3).time
refunds = st.builds(
    refund,
    moments,
    st.none() | totals,
    st.sampled_from(["pending", "succeeded", "failed"]),
    st.sampled_from(["ref_1", "ref_2"]),
    st.booleans(),
)
disputes = st.builds(
    dispute,
    moments,
    st.sampled_from(["dispute_opened", "dispute_lost", "dispute_won", "dispute_cancelled"]),
    totals,
    st.sampled_from(["dp_1", "dp_2"]),
    currency=st.sampled_from(["USD", "EUR"]),
)
upstream = st.one_of(payments, payments | purchases, refunds, disputes, st.just(telling.licence_key()))
movements = st.builds(asking.debit, totals.filter(bool)) | st.builds(asking.credit, totals.filter(bool))
refunding = st.one_of(
    st.builds(RefundToWallet, payment_id=st.just("pay_1"), amount=st.just(UNSET) | st.integers(1, 9)),
    st.builds(RequestRefund, payment_id=st.just("pay_1"), amount=st.just(UNSET) | st.integers(1, 9)),
)
Money = RecordPayment | RecordRefund | RecordDispute


def named(ask: AnyAsk) -> AnyAsk:
    """He was renamed once, and never back: a name that is said again is not noted each time."""
    if not isinstance(ask, RecordPayment | RecordRefund):
        return ask
    name = Named(name="M") if ask.told.time <= AT_REST else Named(name="N", email="n@example.com")
    return replace(ask, customer=name)


def told(asks: list[AnyAsk]) -> tuple[Deck, list[Movement]]:
    deck = Deck()
    moved: list[Movement] = []
    for ask in map(named, asks):
        facts = [decode_fact(event) for event in envelopes(deck.play(deck.asked(A, ask)))]
        moved += [fact for fact in facts if isinstance(fact, Movement)]
    return deck, moved


def settled(deck: Deck) -> list[object]:
    """What must not depend on the order: versions do."""
    states = sorted(deck.customers.items())
    return [
        ({c: n for c, n in s.balances.items() if n}, s.named.partition(" ")[2])
        if isinstance(s, Customer)
        else _of_an_object(s)
        for _, s in states
    ]


def _of_an_object(s: State) -> object:
    assert isinstance(s, Foreign)
    return s.stamps, s.payment, s.refunds, s.disputes, {k: b for k, b in s.booked.items() if b.moved}


@given(st.lists(upstream, max_size=8), st.randoms(use_true_random=False), st.data())
def test_the_order_of_arrival_and_repetition_do_not_matter(asks, random, data) -> None:  # type: ignore[no-untyped-def]
    clean, _ = told(asks)
    again = asks + data.draw(st.lists(st.sampled_from(asks), max_size=4)) if asks else asks
    random.shuffle(again)
    shuffled, _ = told(again)
    assert settled(shuffled) == settled(clean)


@given(st.lists(upstream, max_size=8, unique_by=lambda a: (type(a), a.told.time, a.streams, str(a.foreign))))
def test_the_wallet_is_what_the_newest_of_each_object_says(asks: list[AnyAsk]) -> None:
    """Computed a second way: from the last word on each object, not step by step."""
    deck, _ = told(asks)
    if asks:
        balance = deck.balance(A)
        assert balance == expected([ask for ask in asks if isinstance(ask, Money)])


def expected(asks: list[Money]) -> int:
    last: dict[str, Money] = {}
    for ask in sorted(asks, key=lambda ask: ask.told.time):
        last[str(ask.foreign)] = ask
    paid = [one.payment for one in last.values() if isinstance(one, RecordPayment)]
    if not paid or paid[0].status != "succeeded":
        return 0
    total, net = paid[0].total_amount, max(0, paid[0].total_amount - (paid[0].tax or 0))
    done = [
        (
            total if not isinstance(one.refund.amount, int) else one.refund.amount,
            bool(one.refund.wallet_action),
        )
        for one in last.values()
        if isinstance(one, RecordRefund) and one.refund.status == "succeeded"
    ]
    to_card = sum(amount for amount, to_wallet in done if not to_wallet)
    to_wallet = sum(amount for amount, to_wallet in done if to_wallet)
    if paid[0].wallet_action != "top_up":
        return max(0, min(to_wallet, total - to_card))
    held = sum(
        total if one.dispute.currency != "USD" else int(one.dispute.amount or 0)
        for one in last.values()
        if isinstance(one, RecordDispute) and one.dispute.dispute_status in ("dispute_opened", "dispute_lost")
    )
    return max(0, net - to_card - held)


@given(st.lists(upstream | movements | refunding, max_size=12))
def test_never_below_zero_and_every_entry_has_its_other_side(asks: list[AnyAsk]) -> None:
    deck, moved = told([payment(1, total=20, tax=0, name="pay_0"), *asks])
    signs = [(1 if isinstance(fact, WalletCredited) else -1, fact) for fact in moved]
    assert all(fact.balance_after >= 0 for _, fact in signs)
    assert all(fact.counter_account == COUNTER_ACCOUNTS[fact.cause] for fact in moved)
    assert deck.balance(A) == sum(sign * fact.amount for sign, fact in signs)
    booked = [b for s in deck.customers.values() if isinstance(s, Foreign) for b in s.booked.values()]
    by_rules = sum(sign * fact.amount for sign, fact in signs if fact.cause != "adjustment")
    assert by_rules == sum(one.moved for one in booked)
    assert all(one.short >= 0 for one in booked)


@given(st.lists(purchases | refunding | refunding, max_size=12))
def test_no_more_is_given_back_than_was_paid(asks: list[AnyAsk]) -> None:
    """Whatever is asked for, and however the payment turns meanwhile."""
    deck, _ = told([telling.purchase(1, total=12), *asks])
    paid = [s for s in deck.customers.values() if isinstance(s, Foreign) and s.payment is not None]
    most = max(12, *(ask.payment.total_amount for ask in asks if isinstance(ask, RecordPayment)), 0)
    for state in paid:
        assert sum(part.amount for part in state.refunds.values()) <= most


def test_without_the_order_by_time_the_laws_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.domain.upstream.stamp_of", lambda *_: "9")
    assert settled(told([payment(1), payment(2, "failed")])[0]) != settled(
        told([payment(2, "failed"), payment(1)])[0]
    )
