"""Paying an invoice from the wallet first, and asking for more credit. Pure."""

from msgspec import UNSET

from events.codec import micros
from events.facts import COUNTER_ACCOUNTS, AnyFact, Cause, CustomerCommandRefused, Refusal, WalletDebited
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.requested import InvoiceSettled, InvoiceSettlementReturned, TopUpRequested
from events.requests import RequestTopUp, SettleInvoice
from services.ledger.domain.customer import Customer, gone
from services.ledger.domain.given import Given
from services.ledger.domain.invoice import Invoice

CLOCKS_APART_MICROS = 2_000_000
"""Of a payment that fails at once upstream may say an earlier second than that of the settlement before it."""


def decide_settlement(
    ask: SettleInvoice, customer: Customer, invoice: Invoice, given: Given
) -> list[AnyFact]:
    """As much as is there, which may be nothing. An invoice has one currency; a blocked customer pays nothing."""
    refusal = _unfit(ask, customer, invoice, given)
    if refusal is not None:
        return [_refused(ask, refusal, ask.invoice_id)]
    before = customer.balance(ask.currency)
    applied = min(before, ask.amount)
    settled = InvoiceSettled(
        settlement_id=given.made("set_"),
        invoice_id=ask.invoice_id,
        currency=ask.currency,
        amount=ask.amount,
        applied=applied,
        balance_before=before,
        entry_id=given.entry_id if applied else UNSET,
        personal=Personal(reason=ask.reason),
    )
    if not applied:
        return [settled]
    debited = WalletDebited(
        entry_id=given.entry_id,
        currency=ask.currency,
        amount=applied,
        balance_before=before,
        balance_after=before - applied,
        cause=Cause.INVOICE_PAYMENT,
        counter_account=COUNTER_ACCOUNTS[Cause.INVOICE_PAYMENT],
        reference=ask.invoice_id,
        personal=Personal(reason=ask.reason),
    )
    return [settled, debited]


def decide_top_up(ask: RequestTopUp, customer: Customer, given: Given) -> list[AnyFact]:
    """A request; the credit follows from the payment that names it."""
    refusal = gone(customer)
    if refusal is None and ask.currency not in given.currencies:
        refusal = Refusal.UNSUPPORTED_CURRENCY
    if refusal is None and customer.balance(ask.currency) > AMOUNT_MAX - ask.amount:
        refusal = Refusal.BALANCE_LIMIT_EXCEEDED
    if refusal is not None:
        return [_refused(ask, refusal)]
    fact = TopUpRequested(
        request_id=given.made("top_"),
        currency=ask.currency,
        amount=ask.amount,
        personal=Personal(return_url=ask.return_url, metadata=ask.metadata),
    )
    return [fact]


def returned(
    invoice: Invoice, invoice_id: str, payment_id: str, failed: str
) -> InvoiceSettlementReturned | None:
    """A payment of this invoice has failed: what was settled by then is its part from now on, and not another's."""
    until = micros(failed) + CLOCKS_APART_MICROS
    amount = sum(part.amount for part in invoice.parts if micros(part.time) <= until)
    if not amount:
        return None
    return InvoiceSettlementReturned(
        invoice_id=invoice_id, payment_id=payment_id, currency=invoice.currency, amount=amount
    )


def _refused(
    ask: RequestTopUp | SettleInvoice, refusal: Refusal, reference: str | None = None
) -> CustomerCommandRefused:
    return CustomerCommandRefused(
        command=ask.TYPE,
        refusal=refusal,
        currency=ask.currency,
        amount=ask.amount,
        reference=UNSET if reference is None else reference,
    )


def _unfit(ask: SettleInvoice, customer: Customer, invoice: Invoice, given: Given) -> Refusal | None:
    refusal = gone(customer)
    if refusal is None and customer.blocked:
        refusal = Refusal.CUSTOMER_BLOCKED
    if refusal is None and (
        ask.currency not in given.currencies or invoice.currency not in ("", ask.currency)
    ):
        refusal = Refusal.UNSUPPORTED_CURRENCY
    if refusal is None and invoice.open > AMOUNT_MAX - ask.amount:
        refusal = Refusal.BALANCE_LIMIT_EXCEEDED
    return refusal
