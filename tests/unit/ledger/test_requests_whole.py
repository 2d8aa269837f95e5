"""What is decided of requests about upstream's objects, to the last field."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import timestamp
from events.commands import AnyAsk
from events.facts import (
    AnyFact,
    Cause,
    CustomerCommandRefused,
    Refusal,
    WalletCredited,
    WalletDebited,
)
from events.foreign import Effect, Refund
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.requested import (
    InvoiceSettled,
    RefundMadeToWallet,
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
)
from events.requests import (
    ChangeInClear,
    RefundItem,
    RefundToWallet,
    RequestRefund,
    RequestSubscriptionChange,
    RequestTopUp,
    SettleInvoice,
    SubscriptionChange,
)
from tests.unit.ledger.deck import Deck
from tests.unit.ledger.telling import (
    licence_key,
    payment,
    purchase,
    subscription,
)
from tests.unit.ledger.whole import MADE, facts

ITEMS = [RefundItem(item_id="pdt_1", amount=20), RefundItem(item_id="pdt_2", amount=10)]
WHY: dict[str, Any] = {"reason": "broken", "metadata": {"who": "Mai"}}
SEALED = Personal(reason="broken", metadata={"who": "Mai"})
WHOLE_REFUND = RequestRefund(payment_id="pay_1", currency="USD", **WHY)
TO_WALLET = RefundToWallet(payment_id="pay_1", currency="USD", amount=50, **WHY)
SETTLE = SettleInvoice(invoice_id="inv_1", currency="USD", amount=80, reason="broken")
TOP_UP = RequestTopUp(currency="USD", amount=500, return_url="https://shop", metadata={"who": "Mai"})
CHANGE = RequestSubscriptionChange(
    subscription_id="sub_1", change=SubscriptionChange(status="cancelled", customer_name="Mai")
)


def refused(command: str, refusal: Refusal, **more: Any) -> CustomerCommandRefused:
    return CustomerCommandRefused(command=command, refusal=refusal, **more)


@pytest.mark.parametrize(
    ("asks", "then"),
    [
        pytest.param(
            [purchase(), WHOLE_REFUND],
            [RefundRequested(request_id=f"ref_{MADE}", payment_id="pay_1", currency="USD", amount=110,
                             is_partial=False, personal=SEALED)],
            id="a refund is asked for",
        ),
        pytest.param(
            [purchase(), replace(WHOLE_REFUND, items=ITEMS)],
            [RefundRequested(request_id=f"ref_{MADE}", payment_id="pay_1", currency="USD", amount=30,
                             is_partial=True, items=tuple(ITEMS), personal=SEALED)],
            id="of some items",
        ),
        pytest.param(
            [purchase(), TO_WALLET],
            [RefundMadeToWallet(
                refund=Refund(refund_id=f"ref_{MADE}", payment_id="pay_1", status="succeeded", amount=50,
                              currency="USD", is_partial=True, created_at=timestamp(Deck().now),
                              wallet_action="refund_to_wallet"),
                effects=(Effect(rule="refund_to_wallet", reference=f"ref_{MADE}", currency="USD", moved=50),),
                personal=SEALED),
             WalletCredited(entry_id=f"wle_{MADE}", currency="USD", amount=50, balance_before=0, balance_after=50,
                            cause=Cause.REFUND, counter_account="merchant:refunds", reference=f"ref_{MADE}")],
            id="a refund into the wallet",
        ),
        pytest.param(
            [payment(), SETTLE],
            [InvoiceSettled(settlement_id=f"set_{MADE}", invoice_id="inv_1", currency="USD", amount=80, applied=80,
                            balance_before=100, entry_id=f"wle_{MADE}", personal=Personal(reason="broken")),
             WalletDebited(entry_id=f"wle_{MADE}", currency="USD", amount=80, balance_before=100, balance_after=20,
                           cause=Cause.INVOICE_PAYMENT, counter_account="merchant:sales", reference="inv_1",
                           personal=Personal(reason="broken"))],
            id="an invoice is paid",
        ),
        pytest.param(
            [purchase(), SETTLE],
            [InvoiceSettled(settlement_id=f"set_{MADE}", invoice_id="inv_1", currency="USD", amount=80, applied=0,
                            balance_before=0, personal=Personal(reason="broken"))],
            id="with nothing",
        ),
        pytest.param(
            [purchase(), TOP_UP],
            [TopUpRequested(request_id=f"top_{MADE}", currency="USD", amount=500,
                            personal=Personal(return_url="https://shop", metadata={"who": "Mai"}))],
            id="a top-up is asked for",
        ),
        pytest.param(
            [subscription(), CHANGE],
            [SubscriptionChangeRequested(request_id=f"scr_{MADE}", subscription_id="sub_1",
                                         change=ChangeInClear(status="cancelled"),
                                         personal=Personal(change={"customer_name": "Mai"}))],
            id="a change is asked for",
        ),
        pytest.param(
            [subscription(), replace(CHANGE, change=SubscriptionChange(status="cancelled"))],
            [SubscriptionChangeRequested(request_id=f"scr_{MADE}", subscription_id="sub_1",
                                         change=ChangeInClear(status="cancelled"))],
            id="which names nobody",
        ),
    ],
)  # fmt: skip
def test_what_is_decided_of_a_request(asks: list[AnyAsk], then: list[AnyFact]) -> None:
    assert facts(*asks) == then


MUCH = [RefundItem(item_id="pdt_1", amount=AMOUNT_MAX)] * 2
EURO = {"currency": "EUR", "amount": 7}


@pytest.mark.parametrize(
    ("ask", "then"),
    [
        pytest.param(
            WHOLE_REFUND,
            refused("refund.request.v1", Refusal.NOT_FOUND, currency="USD", reference="pay_1"),
            id="a refund of all there is",
        ),
        pytest.param(
            replace(WHOLE_REFUND, items=MUCH),
            refused("refund.request.v1", Refusal.NOT_FOUND, currency="USD", amount=AMOUNT_MAX, reference="pay_1"),
            id="of more than an amount can be",
        ),
        pytest.param(
            TO_WALLET,
            refused("refund.to_wallet.v1", Refusal.NOT_FOUND, currency="USD", amount=50, reference="pay_1"),
            id="into the wallet",
        ),
        pytest.param(
            replace(SETTLE, **EURO),
            refused("wallet.settle_invoice.v1", Refusal.UNSUPPORTED_CURRENCY, reference="inv_1", **EURO),
            id="an invoice",
        ),
        pytest.param(
            replace(TOP_UP, **EURO),
            refused("wallet.request_top_up.v1", Refusal.UNSUPPORTED_CURRENCY, **EURO),
            id="a top-up",
        ),
        pytest.param(
            CHANGE,
            refused("subscription.request_change.v1", Refusal.NOT_FOUND, reference="sub_1"),
            id="a change",
        ),
    ],
)  # fmt: skip
def test_a_request_that_is_refused_says_what_it_was(ask: AnyAsk, then: CustomerCommandRefused) -> None:
    refund_asked = isinstance(ask, RequestRefund | RefundToWallet)
    personal = Personal(reason="broken") if refund_asked else UNSET
    assert facts(licence_key(), ask) == [replace(then, personal=personal)]
