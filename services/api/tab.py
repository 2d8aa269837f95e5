"""A payment in words for people: the tab of a customer's transactions. Pure."""

from services.api.foreign_ports import Transaction
from services.api.shapes.lookups import CustomerTransaction, PaymentStatus, PricingType

SUCCEEDED = frozenset({"succeeded", "partially_captured"})
FAILED = frozenset({"failed", "cancelled"})
SETTLED = frozenset({"dispute_won", "dispute_cancelled"})
"""Disputes after which the money is where it was."""

_METHODS = {
    "card": "Card",
    "upi": "UPI",
    "upi_collect": "UPI",
    "upi_intent": "UPI",
    "ach": "ACH",
    "ali_pay": "Alipay",
    "ali_pay_hk": "AlipayHK",
    "apple_pay": "Apple Pay",
    "bacs": "Bacs",
    "becs": "BECS",
    "cashapp": "Cash App",
    "eps": "EPS",
    "fps": "FPS",
    "gcash": "GCash",
    "google_pay": "Google Pay",
    "ideal": "iDEAL",
    "mobile_pay": "MobilePay",
    "paypal": "PayPal",
    "sepa": "SEPA",
    "sepa_bank_transfer": "SEPA bank transfer",
    "viet_qr": "VietQR",
    "we_chat_pay": "WeChat Pay",
}
_PLAIN = frozenset({"card", "upi"})
"""Methods whose type says nothing more to people."""


def shown(transaction: Transaction) -> CustomerTransaction:
    """A line of the tab."""
    return CustomerTransaction(
        payment_id=transaction.payment_id,
        status=status(transaction),
        amount=transaction.amount,
        refunded_amount=transaction.refunded,
        currency=transaction.currency,
        created_at=transaction.created_at,
        pricing_type=pricing_type(transaction),
        payment_method=method(transaction),
    )


def status(transaction: Transaction) -> PaymentStatus:
    """A dispute that is open or lost counts before refunds, these before what became of the payment itself."""
    if transaction.disputed is not None and transaction.disputed not in SETTLED:
        return "Disputed"
    if transaction.refunds_succeeded:
        return "Refunded" if transaction.refunded >= transaction.amount else "Partly refunded"
    if transaction.status in SUCCEEDED:
        return "Successful"
    return "Failed" if transaction.status in FAILED else "Pending"


def pricing_type(transaction: Transaction) -> PricingType:
    """A charge that starts several subscriptions names none of them, but says what charge it is."""
    known = transaction.known
    return "subscription" if known.get("subscription_id") or known.get("charge_type") else "one_time"


def method(transaction: Transaction) -> str | None:
    """None where upstream does not say, as for payments that never settled."""
    general = str(transaction.known.get("payment_method") or "")
    narrow = str(transaction.known.get("payment_method_type") or "")
    word = general if general in _PLAIN or not narrow else narrow
    return _METHODS.get(word) or word.replace("_", " ").capitalize() or None
