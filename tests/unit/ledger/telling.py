"""What upstream says, short enough for tables."""

from typing import Any

from msgspec import UNSET

from events.codec import timestamp
from events.foreign import Dispute, LicenceKey, Payment, Refund, Subscription, Told
from events.upstream import (
    Named,
    RecordDispute,
    RecordLicenceKey,
    RecordPayment,
    RecordRefund,
    RecordSubscription,
    RecordUpstream,
)

START = 1_790_000_000_000_000
MAI = Named(name="Mai", email="mai@example.com")


def told(at: int, kind: str = "payment.succeeded") -> Told:
    return Told(type=kind, time=timestamp(START + at * 1_000_000))


def payment(
    at: int = 1, status: str = "succeeded", total: int = 110, tax: int = 10, name: str = "pay_1", **more: Any
) -> RecordPayment:
    """A top-up, unless `wallet_action` says otherwise."""
    fields: dict[str, Any] = {"currency": "USD", "wallet_action": "top_up", **more}
    customer = fields.pop("customer", MAI)
    said = Payment(payment_id=name, status=status, total_amount=total, tax=tax, **fields)
    return RecordPayment(told=told(at), payment=said, customer=customer, foreign={"payment_id": name})


def purchase(at: int = 1, total: int = 110, **more: Any) -> RecordPayment:
    return payment(at, total=total, wallet_action="none", **more)


def refund(
    at: int = 2,
    amount: int | None = 50,
    status: str = "succeeded",
    name: str = "ref_1",
    to_wallet: bool = False,
    currency: str = "USD",
) -> RecordRefund:
    action = "refund_to_wallet" if to_wallet else UNSET
    money = UNSET if amount is None else amount
    said = Refund(
        refund_id=name,
        payment_id="pay_1",
        status=status,
        amount=money,
        currency=currency,
        wallet_action=action,
    )
    return RecordRefund(told=told(at), refund=said, customer=MAI, foreign={"refund_id": name})


def dispute(
    at: int = 3, status: str = "dispute_opened", amount: int = 110, name: str = "dp_1", **more: Any
) -> RecordDispute:
    fields: dict[str, Any] = {"currency": "USD", **more}
    said = Dispute(dispute_id=name, payment_id="pay_1", dispute_status=status, amount=amount, **fields)
    return RecordDispute(told=told(at), dispute=said, foreign={"dispute_id": name})


def subscription(at: int = 1, status: str = "active") -> RecordSubscription:
    said = Subscription(subscription_id="sub_1", status=status)
    return RecordSubscription(
        told=told(at), subscription=said, customer=MAI, foreign={"subscription_id": "sub_1"}
    )


def licence_key(at: int = 1, status: str = "active") -> RecordLicenceKey:
    said = LicenceKey(licence_key_id="lic_1", status=status)
    return RecordLicenceKey(told=told(at), licence_key=said, foreign={"id": "lic_1"})


def other(at: int = 1, kind: str = "credit.added") -> RecordUpstream:
    return RecordUpstream(told=told(at, kind), foreign={"amount": "1"}, customer=MAI)
