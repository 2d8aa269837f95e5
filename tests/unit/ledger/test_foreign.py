"""What is kept of upstream's objects between decisions: the newest of each, and a bounded number of them."""

from itertools import permutations
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from events.commands import AnyAsk
from events.requested import InvoiceSettled, InvoiceSettlementReturned
from events.requests import (
    ChangeInClear,
    RequestRefund,
    RequestSubscriptionChange,
    SettleInvoice,
    SubscriptionChange,
)
from events.upstream import RecordPayment
from services.ledger.domain import foreign
from services.ledger.domain.foreign import Booked, Foreign, Plan, Seen
from services.ledger.domain.invoice import NEVER_SETTLED, Invoice, Part, evolve_invoice
from tests.fakes.asking import REGISTER, credit
from tests.unit.ledger.deck import CONFIGURED, Deck, replies
from tests.unit.ledger.telling import dispute, payment, purchase, refund, subscription, told

A = "cus_a"
INVOICE: dict[str, Any] = {"invoice_id": "inv_1", "currency": "USD"}


def state(deck: Deck) -> Foreign:
    [found] = [one for one in deck.customers.values() if isinstance(one, Foreign)]
    return found


def after(*asks: AnyAsk) -> Foreign:
    deck = Deck()
    for ask in asks:
        deck.play(deck.asked(A, ask))
    return state(deck)


def test_of_a_payment_is_kept_what_decisions_need_and_no_more() -> None:
    kept = after(
        replace(payment(), payment=replace(payment().payment, tax=UNSET)),
        refund(2, None, name="ref_1"),
        refund(2, 5, "pending", name="ref_2", to_wallet=True),
        dispute(3, amount=30),
        replace(dispute(4), dispute=replace(dispute(name="dp_2").dispute, amount=UNSET, currency=UNSET)),
    )
    assert (kept.version, kept.from_wallet, kept.plan) == (5, {}, Plan())
    assert kept.payment == Seen("succeeded", "USD", 110, 110, "top_up")
    assert kept.refunds == {
        "ref_1": Seen("succeeded", "USD", -1),
        "ref_2": Seen("pending", "USD", 5, 0, "refund_to_wallet"),
    }
    assert kept.disputes == {
        "dp_1": Seen("dispute_opened", "USD", 30),
        "dp_2": Seen("dispute_opened", "", -1),
    }
    assert kept.booked == {"top_up USD pay_1": Booked(0, 0)}  # all went back to the card
    assert kept.stamps.keys() == {"pay_1", "refund ref_1", "refund ref_2", "dispute dp_1", "dispute dp_2"}


def test_a_payment_without_an_action_has_none_and_a_request_holds_its_part() -> None:
    plain = replace(payment(), payment=replace(payment().payment, wallet_action=UNSET))
    kept = after(plain, RequestRefund(payment_id="pay_1", amount=30))
    assert kept.payment == Seen("succeeded", "USD", 100, 110, "")
    [asked] = kept.refunds
    assert kept.refunds == kept.asked == {asked: Seen("requested", "USD", 30)}
    assert kept.stamps[f"refund {asked}"] == ""


def test_of_a_subscription_is_kept_its_status_and_what_is_asked_of_it() -> None:
    deck = Deck()
    change = SubscriptionChange(status="cancelled", customer_name="Mai")
    for ask in (subscription(), RequestSubscriptionChange(subscription_id="sub_1", change=change)):
        batch = deck.play(deck.asked(A, ask))
    asked = replies(batch)[0].object_id
    assert state(deck).version == 2
    assert state(deck).plan == Plan("active", asked, ChangeInClear(status="cancelled"), is_open=True)
    deck.play(deck.asked(A, subscription(2, "cancelled")))
    assert state(deck).plan == Plan("cancelled", asked, ChangeInClear(status="cancelled"), is_open=False)


def test_of_an_invoice_is_kept_what_is_open() -> None:
    settled = InvoiceSettled(settlement_id="set_1", amount=90, applied=80, balance_before=80, **INVOICE)
    returned = InvoiceSettlementReturned(payment_id="pay_1", amount=30, **INVOICE)
    late, early = told(2).time, told(1).time
    invoice = evolve_invoice(evolve_invoice(NEVER_SETTLED, settled, late), returned, late)
    assert invoice == Invoice(version=2, currency="USD", parts=(Part(late, 50),))
    invoice = evolve_invoice(invoice, settled, early)
    assert invoice == Invoice(version=3, currency="USD", parts=(Part(early, 80), Part(late, 50)))
    assert evolve_invoice(invoice, replace(returned, amount=90), late).parts == (Part(late, 40),)
    assert evolve_invoice(invoice, replace(settled, applied=0), late).parts == invoice.parts


def says(status: str, updated: int | None, at: int = 1) -> RecordPayment:
    """With the object's own word on its age."""
    ask = payment(at, status)
    word = UNSET if updated is None else told(updated).time
    return replace(ask, told=replace(ask.told, updated=word), foreign={"status": status})


@pytest.mark.parametrize("older", [None, 1])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("one", "other"), [("succeeded", "failed"), ("failed", "succeeded")])
def test_of_one_moment_the_objects_own_word_on_its_age_counts(
    older: int | None, turned: bool, one: str, other: str
) -> None:
    asks = [says(one, older), says(other, 2)]
    kept = after(*(reversed(asks) if turned else asks))
    assert kept.payment is not None
    assert kept.payment.status == other
    later = after(says(one, 9), says(other, 1, at=2))
    assert later.payment is not None
    assert later.payment.status == other  # but a later moment counts first


def test_of_one_moment_and_age_the_same_one_counts_in_whatever_order_they_come() -> None:
    asks = [says(status, None) for status in ("succeeded", "failed", "processing", "cancelled")]
    assert len({after(*order).payment for order in permutations(asks)}) == 1


def test_what_upstream_tells_of_one_payment_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further parts are recorded and have no say; what is known may still change."""
    monkeypatch.setattr(foreign, "PARTS_MAX", 3)
    parts = [payment(), refund(2, 10), refund(2, 20, name="ref_2"), refund(2, 30, name="ref_3")]
    kept = after(*parts)
    assert (kept.version, set(kept.refunds), len(kept.stamps)) == (4, {"ref_1", "ref_2"}, 3)
    assert kept.booked["top_up USD pay_1"].moved == 70
    assert after(*parts, refund(3, 10, "failed")).booked["top_up USD pay_1"].moved == 80
    deck = Deck()
    for ask in parts:
        deck.play(deck.asked(A, ask))
    assert len(deck.play(deck.asked(A, refund(4, 30, name="ref_4"))).events) == 1


def test_nothing_follows_from_what_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was withheld would be given with each of them: they are not noted as given."""
    monkeypatch.setattr(foreign, "PARTS_MAX", 2)
    deck = Deck()
    for ask in (payment(currency="EUR"), refund(2, 1, currency="EUR")):
        deck.play(deck.asked(A, ask))
    deck.configured = CONFIGURED._replace(currencies=frozenset({"USD", "EUR"}))
    for name in ("ref_2", "ref_3", "ref_4"):
        [event] = deck.play(deck.asked(A, refund(3, 1, name=name, currency="EUR"))).events
        assert event.type == "refund.recorded.v1"
    assert deck.balance(A, currency="EUR") == 0
    deck.play(deck.asked(A, refund(4, 1, currency="EUR")))
    assert deck.balance(A, currency="EUR") == 99, "it is looked at again with news of what has one"


def test_no_invoice_is_given_back_for_a_payment_that_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be closed, and its money nowhere."""
    monkeypatch.setattr(foreign, "PARTS_MAX", 1)
    deck = Deck()
    failed = payment(4, "failed", invoice_id="inv_1")
    settle = SettleInvoice(invoice_id="inv_1", currency="USD", amount=30)
    for ask in (REGISTER, credit(30), settle, refund()):
        deck.play(deck.asked(A, ask))
    [event] = deck.play(deck.asked(A, failed)).events
    assert event.type == "payment.recorded.v1"


def test_no_refund_is_asked_for_that_would_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be asked for again and again."""
    for module in ("foreign", "refunds"):
        monkeypatch.setattr(f"services.ledger.domain.{module}.PARTS_MAX", 3)
    deck = Deck()
    for ask in (purchase(), refund(2, 10), refund(2, 10, name="ref_2")):
        deck.play(deck.asked(A, ask))
    [reply] = replies(deck.play(deck.asked(A, RequestRefund(payment_id="pay_1", amount=10))))
    assert reply.code == "PARTIAL_REFUND_NOT_ALLOWED"
