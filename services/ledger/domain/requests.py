"""What is asked about upstream's objects, and who decides it. Pure."""

from collections.abc import Mapping
from typing import assert_never

from events.facts import AnyFact
from events.requests import (
    RefundToWallet,
    RequestAsk,
    RequestRefund,
    RequestSubscriptionChange,
    RequestTopUp,
    SettleInvoice,
)
from services.ledger.domain.changes import decide_change
from services.ledger.domain.customer import Customer
from services.ledger.domain.given import Given
from services.ledger.domain.invoice import Invoice
from services.ledger.domain.refunds import decide_refund, decide_to_wallet
from services.ledger.domain.settlements import decide_settlement, decide_top_up
from services.ledger.domain.states import State, foreign_of


def decide_request(
    ask: RequestAsk, customer: Customer, about: Mapping[str, State], given: Given
) -> list[AnyFact]:
    """`about`: the states of the streams that the ask names, by category."""
    match ask:
        case RequestRefund():
            return decide_refund(ask, customer, foreign_of(about, "payment"), given)
        case RefundToWallet():
            return decide_to_wallet(ask, customer, foreign_of(about, "payment"), given)
        case RequestSubscriptionChange():
            return decide_change(ask, customer, foreign_of(about, "subscription"), given)
        case RequestTopUp():
            return decide_top_up(ask, customer, given)
        case SettleInvoice():
            invoice = about["invoice"]
            assert isinstance(invoice, Invoice)
            return decide_settlement(ask, customer, invoice, given)
        case _:
            assert_never(ask)
