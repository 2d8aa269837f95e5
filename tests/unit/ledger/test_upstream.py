"""What follows from what upstream says: the rules as a table, in whole batches with both streams."""

from collections.abc import Sequence
from itertools import permutations

import pytest
from msgspec import UNSET

from events.codec import decode_fact
from events.commands import AnyAsk, BlockCustomer, ChangeProfile, CloseCustomer
from events.facts import CustomerProfileChanged, CustomerRegistered, Movement
from events.replies import Outcome
from events.sealing import unseal
from events.upstream import Named
from services.ledger.domain.foreign import Foreign
from services.ledger.domain.rules import Rule
from tests.fakes import asking
from tests.unit.ledger import telling
from tests.unit.ledger.deck import CONFIGURED, Deck, envelopes, linked, outcomes
from tests.unit.ledger.telling import dispute, payment, purchase, refund

A = "cus_a"
WON, LOST = "dispute_won", "dispute_lost"


def play(*asks: AnyAsk, customer: str = A) -> Deck:
    deck = Deck()
    for ask in asks:
        say(deck, ask, customer)
    return deck


def say(deck: Deck, ask: AnyAsk, customer: str = A) -> list[str]:
    """One batch; the types of its events."""
    batch = deck.play(deck.asked(customer, ask))
    return [event.type.removesuffix(".v1") for event in batch.events]


def short(deck: Deck) -> int:
    return sum(b.short for s in deck.customers.values() if isinstance(s, Foreign) for b in s.booked.values())


@pytest.mark.parametrize("total", range(110, 126))  # contents differ, and so do their prints
def test_of_one_moment_the_status_that_lasts_is_the_last_word(total: int) -> None:
    """Clocks of upstream may know seconds only: a coin would leave every second top-up out."""
    words = [payment(1, "processing", total), payment(1, "failed", total), payment(1, total=total)]
    for told in permutations(words):
        assert play(*told).balance(A) == total - 10
    taken = [payment(total=total), dispute(2, amount=total)]
    for later in permutations([dispute(3, amount=total), dispute(3, WON, total)]):
        assert play(*taken, *later).balance(A) == total - 10


@pytest.mark.parametrize(
    ("asks", "balance", "lacking"),
    [
        pytest.param([payment(status="processing")], 0, 0, id="nothing has come in yet"),
        pytest.param([payment()], 100, 0, id="a top-up is credited without its tax"),
        pytest.param([payment(), payment()], 100, 0, id="once"),
        pytest.param([payment(1), payment(2)], 100, 0, id="once, however often it is said"),
        pytest.param([payment(1, "processing"), payment(2)], 100, 0, id="when it succeeds"),
        pytest.param([payment(2, "failed"), payment(1)], 0, 0, id="what is older is not believed"),
        pytest.param([payment(1), payment(2, "failed")], 0, 0, id="a success that was none is taken back"),
        pytest.param([purchase()], 0, 0, id="a purchase is no top-up"),
        pytest.param([payment(1), purchase(2)], 0, 0, id="what turns out to be a purchase is taken back"),
        pytest.param([payment(currency="EUR")], 0, 0, id="a currency that is not open"),
        pytest.param([payment(total=10, tax=10)], 0, 0, id="nothing but tax"),
        pytest.param([payment(total=5, tax=10)], 0, 0, id="more tax than money"),
        pytest.param([payment(), refund(amount=50)], 50, 0, id="a top-up that went back to the card"),
        pytest.param([payment(), refund(amount=110)], 0, 0, id="all of it, with the tax"),
        pytest.param([payment(), refund(status="failed")], 100, 0, id="a refund that failed"),
        pytest.param([purchase(), refund(to_wallet=True)], 50, 0, id="refund to wallet"),
        pytest.param([purchase(), refund(amount=None, to_wallet=True)], 110, 0, id="without an amount: all"),
        pytest.param([purchase(), refund(amount=900, to_wallet=True)], 110, 0, id="never more than was paid"),
        pytest.param([purchase(), refund(2, 80, to_wallet=True), refund(3, 80, name="ref_2", to_wallet=True)], 110, 0,
                     id="in two parts neither"),
        pytest.param([payment(), refund(amount=0)], 100, 0, id="a refund of nothing"),
        pytest.param([payment(), refund(amount=1, currency="INR")], 0, 0, id="to the card in another currency: all"),
        pytest.param([purchase(), refund(amount=1, currency="INR", to_wallet=True)], 0, 0,
                     id="to the wallet in another currency: nothing"),
        pytest.param([purchase(), refund(amount=50, to_wallet=True), purchase(3, currency="INR")], 0, 0,
                     id="which the payment was not in before: taken back"),
        pytest.param([purchase(), refund(amount=1, currency="INR"), refund(to_wallet=True, name="ref_2")], 0, 0,
                     id="nothing is left of it"),
        pytest.param(
            [purchase(), refund(amount=80, name="ref_2"), refund(amount=80, to_wallet=True)],
            30,
            0,
            id="never more than is left",
        ),
        pytest.param(
            [purchase(), refund(amount=80, to_wallet=True), refund(3, 80, name="ref_2")],
            30,
            0,
            id="nor after a later refund to the card",
        ),
        pytest.param([refund(to_wallet=True)], 0, 0, id="refund of a payment that is not known yet"),
        pytest.param([refund(to_wallet=True), purchase()], 50, 0, id="and when it comes to be known"),
        pytest.param([purchase(), refund(2, to_wallet=True), refund(3, status="failed", to_wallet=True)], 0, 0,
                     id="a refund to wallet that is reversed"),
        pytest.param([payment(), refund(to_wallet=True)], 100, 0, id="a top-up is in the wallet already"),
        pytest.param([payment(), dispute()], 0, 0, id="a dispute takes what the top-up gave"),
        pytest.param([payment(), dispute(amount=30)], 70, 0, id="or a part of it"),
        pytest.param([payment(), dispute(currency="EUR", amount=1)], 0, 0, id="in another currency: all"),
        pytest.param([payment(), dispute(currency=UNSET, amount=30)], 70, 0, id="without one: in the payment's"),
        pytest.param([payment(), dispute(), dispute(4, LOST)], 0, 0, id="lost: taken once"),
        pytest.param([payment(), dispute(), dispute(4, WON)], 100, 0, id="won: given back"),
        pytest.param([payment(), dispute(4, WON), dispute(3)], 100, 0, id="won before it was heard of"),
        pytest.param([dispute(), payment()], 0, 0, id="known before its payment"),
        pytest.param([purchase(), dispute()], 0, 0, id="a dispute on a purchase is no matter of the wallet"),
        pytest.param([payment(), dispute(), dispute(name="dp_2")], 0, 0, id="two take no more than there was"),
        pytest.param([payment(), asking.debit(60), dispute()], 0, 60, id="what was spent is lacking"),
        pytest.param([payment(), asking.debit(60), dispute(), dispute(4, WON)], 40, 0,
                     id="won: only what was taken is given back"),
        pytest.param([payment(), asking.debit(60), dispute(), asking.credit(5)], 5, 60,
                     id="nothing is collected by the way"),
        pytest.param([payment(), asking.debit(100), CloseCustomer(), dispute()], 0, 100, id="closed: all is lacking"),
        pytest.param([payment(), BlockCustomer(), asking.debit(1)], 100, 0, id="blocked: nothing is spent"),
        pytest.param([payment(), BlockCustomer(), dispute(amount=30)], 70, 0, id="blocked: a dispute takes"),
        pytest.param([payment(), BlockCustomer(), refund(amount=30)], 70, 0, id="blocked: so does a refund to the card"),
        pytest.param([payment(), BlockCustomer(), payment(2, "failed")], 0, 0, id="blocked: and a success that was none"),
    ],
)  # fmt: skip
def test_wallet_rules(asks: Sequence[AnyAsk], balance: int, lacking: int) -> None:
    deck = play(*asks)
    assert (deck.balance(A), short(deck)) == (balance, lacking)


def test_entries_name_their_object_and_cause() -> None:
    deck, heads = Deck(), {n: row.head for n, row in Deck().rows.items()}
    moves = []
    for ask in (payment(), asking.debit(60), dispute(), dispute(4, WON), refund(5, 110)):
        batch = deck.play(deck.asked(A, ask))
        assert linked(batch, heads)
        moves += [decode_fact(event) for event in envelopes(batch)]
    told = [(m.cause, m.amount, m.reference) for m in moves if isinstance(m, Movement)]
    assert told == [
        ("top_up", 100, "pay_1"),
        ("adjustment", 60, told[1][2]),
        ("dispute", 40, "dp_1"),
        ("dispute_reversal", 40, "dp_1"),
        ("top_up_reversal", 40, "pay_1"),
    ]
    assert len({m.entry_id for m in moves if isinstance(m, Movement)}) == len(told)


def test_an_unknown_customer_is_registered_in_the_same_transaction() -> None:
    deck = Deck()
    batch = deck.play(deck.asked(A, payment()))
    types = [event.type for event in batch.events]
    assert types == ["customer.registered.v1", "payment.recorded.v1", "wallet.credited.v1"]
    streams = [(e.stream, e.streamversion) for e in envelopes(batch)]
    assert streams == [("customer-cus_a", 1), ("payment-pay_1", 1), ("customer-cus_a", 2)]
    assert len(batch.commit().receipts) == 1
    event = envelopes(batch)[1]
    fact = unseal(decode_fact(event), bytes(32), event.stream, event.id)
    assert fact.personal.foreign == {"payment_id": "pay_1"}  # type: ignore[union-attr]
    assert b"mai@example.com" not in b"".join(event.value for event in batch.events)


def test_what_is_known_or_older_leaves_nothing() -> None:
    deck = play(payment(5))
    before = dict(deck.customers)
    for ask in (payment(5), payment(4), payment(1, "failed")):
        batch = deck.play(deck.asked(A, ask))
        assert (outcomes(batch), batch.events, batch.commit().receipts) == ([Outcome.UNCHANGED], [], [])
    assert deck.customers == before


@pytest.mark.parametrize(
    ("asks", "changes"),
    [
        pytest.param([asking.REGISTER, payment()], 0, id="our own word stands"),
        pytest.param([payment(1), purchase(2, name="pay_2")], 0, id="the same name again"),
        pytest.param([payment(1), purchase(2, name="pay_2", customer=Named(name="M"))], 1, id="a newer name"),
        pytest.param(
            [payment(3), purchase(2, name="pay_2", customer=Named(name="M"))], 0, id="an older name"
        ),
        pytest.param([telling.licence_key(9), payment(1)], 1, id="a name where there was none"),
        pytest.param([payment(1), telling.licence_key(9)], 0, id="no name changes none"),
        pytest.param(
            [payment(1), ChangeProfile(name="N"), purchase(2, name="pay_2", customer=Named(name="M"))],
            1,
            id="ours is last",
        ),
        pytest.param(
            [
                payment(1),
                asking.debit(100),
                CloseCustomer(),
                purchase(2, name="pay_2", customer=Named(name="M")),
            ],
            0,
            id="a closed customer has his name",
        ),
    ],
)
def test_a_known_customer_is_not_overwritten_by_older_data(asks: Sequence[AnyAsk], changes: int) -> None:
    deck, facts = Deck(), []
    for ask in asks:
        facts += [decode_fact(event) for event in envelopes(deck.play(deck.asked(A, ask)))]
    assert sum(isinstance(fact, CustomerRegistered) for fact in facts) == 1
    assert sum(isinstance(fact, CustomerProfileChanged) for fact in facts) == changes


def test_subscriptions_licence_keys_and_the_rest_are_recorded() -> None:
    deck = Deck()
    assert say(deck, telling.subscription()) == ["customer.registered", "subscription.recorded"]
    assert say(deck, telling.licence_key()) == ["licence_key.recorded"]
    assert say(deck, telling.subscription(2, "cancelled")) == ["subscription.recorded"]
    assert say(deck, telling.subscription(1, "on_hold")) == []
    assert say(deck, telling.other()) == ["upstream.recorded"]


def test_one_payment_of_two_customers_has_two_streams() -> None:
    """Else two shards would write one stream, and neither could go on."""
    deck = Deck()
    for customer in ("cus_a", "cus_b"):
        say(deck, payment(), customer)
    assert (deck.balance("cus_a"), deck.balance("cus_b")) == (100, 100)
    assert len({s for s, state in deck.customers.items() if isinstance(state, Foreign)}) == 2


def test_the_rules_that_are_off_do_nothing() -> None:
    deck = Deck(CONFIGURED._replace(wallet_rules=frozenset()))
    for ask in (payment(), dispute(), refund(4, to_wallet=True)):
        say(deck, ask)
    assert deck.balance(A) == 0
    deck = Deck(CONFIGURED._replace(wallet_rules=frozenset({Rule.TOP_UP})))
    for ask in (payment(), dispute(), refund(4, to_wallet=True)):
        say(deck, ask)
    assert deck.balance(A) == 100
