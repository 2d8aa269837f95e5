"""What upstream told of one business, as facts: short enough for tests, whole enough for the SDK."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from events.codec import timestamp
from events.foreign import CartItem, Dispute, LicenceKey, Payment, Refund, Subscription, Told
from events.recorded import (
    DisputeRecorded,
    LicenceKeyRecorded,
    PaymentRecorded,
    RefundRecorded,
    SubscriptionRecorded,
)
from tests.factories import EventFactory

START = 1_780_000_000_000_000
MINUTE = 60_000_000


OfAnObject = PaymentRecorded | RefundRecorded | DisputeRecorded | SubscriptionRecorded | LicenceKeyRecorded


class News(NamedTuple):
    """A fact, the stream it stands in, and the object as it came."""

    stream: str
    fact: OfAnObject
    came: dict[str, Any]


def at(minute: int) -> str:
    return timestamp(START + minute * MINUTE)


def _head(minute: int, kind: str) -> dict[str, Any]:
    return {"told": Told(type=kind, time=at(minute)), "print": f"{minute:016x}"}


def payment(minute: int, name: str, status: str = "succeeded", total: int = 1_100, **more: Any) -> News:
    """Of product `pdt_a`, unless `more` says otherwise."""
    fields: dict[str, Any] = {
        "currency": "USD", "tax": 100, "created_at": at(0), "payment_method": "card", "payment_provider": "stripe",
        "settlement_amount": total, "settlement_currency": "USD", "product_cart": [CartItem(product_id="pdt_a", quantity=1)],
    } | more  # fmt: skip
    said = Payment(payment_id=name, status=status, total_amount=total, **fields)
    came = {
        "payment_id": name, "status": status, "total_amount": total, "card_last_four": "4242", "metadata": {"order": 7},
        "billing": {"country": "VN", "city": "Huế", "street": None}, "retry_attempt": 0, "unknown": [1, None],
        "business_id": "biz_factory",
    }  # fmt: skip
    return News(f"payment-{name}", PaymentRecorded(payment=said, **_head(minute, f"payment.{status}")), came)


def refund(
    minute: int,
    name: str,
    of: str,
    status: str = "succeeded",
    amount: int | None = 100,
    currency: str = "USD",
) -> News:
    money: dict[str, Any] = {} if amount is None else {"amount": amount, "currency": currency}
    said = Refund(refund_id=name, payment_id=of, status=status, created_at=at(1), **money)
    came = {
        "refund_id": name,
        "payment_id": of,
        "reason": "damaged \\u0000\x00",
        "metadata": {},
        "is_partial": True,
    }
    return News(f"payment-{of}", RefundRecorded(refund=said, **_head(minute, f"refund.{status}")), came)


def dispute(minute: int, name: str, of: str, word: str = "opened", amount: int = 1_100) -> News:
    said = Dispute(
        dispute_id=name, payment_id=of, dispute_status=f"dispute_{word}", amount=amount, currency="USD", created_at=at(2)
    )  # fmt: skip
    came = {"dispute_id": name, "amount": str(amount), "remarks": "ß", "dispute_stage": "dispute"}
    return News(f"payment-{of}", DisputeRecorded(dispute=said, **_head(minute, f"dispute.{word}")), came)


def subscription(minute: int, name: str, status: str = "active", **more: Any) -> News:
    said = Subscription(
        subscription_id=name, status=status, product_id="pdt_a", currency="USD", recurring_pre_tax_amount=900,
        created_at=at(0), next_billing_date=at(43_200), quantity=2, **more,
    )  # fmt: skip
    came = {
        "subscription_id": name,
        "billing": {"country": "IN"},
        "addons": [],
        "customer_business_name": "Mai & Co",
    }
    told = _head(minute, f"subscription.{status}")
    return News(f"subscription-{name}", SubscriptionRecorded(subscription=said, **told), came)


def licence_key(minute: int, name: str, status: str = "active", instances: Any = None, **more: Any) -> News:
    said = LicenceKey(licence_key_id=name, status=status, product_id="pdt_a", created_at=at(0), **more)
    came = {"id": name, "key": "a5e7-🔑", "status": status}
    if instances is not None:
        came["instances"] = instances
    told = _head(minute, "license_key.created")
    return News(f"licence_key-{name}", LicenceKeyRecorded(licence_key=said, **told), came)


def business(customer: str) -> Iterator[News]:
    """A little of everything, told of one customer."""
    yield payment(1, f"pay_{customer}", "processing")
    yield payment(2, f"pay_{customer}", subscription_id=f"sub_{customer}", charge_type="renewal")
    yield payment(3, f"pay_{customer}_2", "failed", 700, product_cart=[], created_at=at(3))
    yield refund(4, f"ref_{customer}", f"pay_{customer}", "pending")
    yield refund(5, f"ref_{customer}", f"pay_{customer}")
    yield refund(5, f"ref_{customer}_2", f"pay_{customer}", amount=None)
    yield refund(
        3, f"ref_{customer}", f"pay_{customer}", "failed"
    )  # older: as of a payment with too many parts
    yield dispute(6, f"dp_{customer}", f"pay_{customer}")
    yield dispute(7, f"dp_{customer}", f"pay_{customer}", "won")
    yield subscription(1, f"sub_{customer}", "pending")
    yield subscription(8, f"sub_{customer}", cancel_at_next_billing_date=True, brand_id="brd_1")
    lived = [{"id": f"lki_{customer}_{n}", "name": f"laptop {n}", "created_at": at(n)} for n in range(3)]
    yield licence_key(9, f"lic_{customer}", instances=lived)
    yield licence_key(10, f"lic_{customer}", instances=[*lived[1:], {"name": "no id"}, 7])
    yield licence_key(11, f"lic_{customer}", "disabled", source="import")


def tell(factory: EventFactory, customer: str) -> None:
    for news in business(customer):
        factory.told(customer, *news)
