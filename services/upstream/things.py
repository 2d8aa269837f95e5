"""Objects as the payment service shows them: the fields of the public API, nulls where nothing is known yet."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from events.codec import timestamp
from services.upstream.people import Person
from services.upstream.trade import BRAND, CARDS, ERRORS, Market

Data = dict[str, Any]

NOT_YET = (
    "tax",
    "settlement_tax",
    "payment_method",
    "payment_method_type",
    "card_last_four",
    "card_network",
    "card_type",
    "invoice_id",
    "error_code",
    "error_message",
    "refund_status",
    "product_cart",
    "subscription_id",
    "charge_type",
)


@dataclass
class Buyer:
    """A customer of the business; `market` is where he pays."""

    number: int
    customer_id: str
    person: Person
    market: Market
    subscription: str = ""

    @property
    def details(self) -> Data:
        person = self.person
        return {
            "customer_id": self.customer_id,
            "email": person.email,
            "name": person.name,
            "metadata": person.metadata,
            "phone_number": person.phone_number,
        }

    @property
    def billing(self) -> Data:
        market = self.market
        return {
            "country": market.country,
            "city": market.city,
            "state": None,
            "street": None,
            "zipcode": None,
        }


@dataclass
class Thing:
    """An object and what the business knows of it beside. Its news is kept back until `held_until`."""

    payload_type: str
    name: str
    data: Data
    buyer: Buyer
    held_until: int = 0
    refundable: int = 0
    payments: int = 0
    disputed: bool = False
    parts: list["Thing"] = field(default_factory=list)


def payment(business: str, name: str, buyer: Buyer, now: int, net: int, **more: Any) -> Thing:
    """Not settled yet: so `tax`, `settlement_tax` and `payment_method` are null."""
    tax = net * buyer.market.tax // 100
    at, currency = timestamp(now), buyer.market.currency
    data: Data = {
        "payment_id": name,
        "business_id": business,
        "brand_id": BRAND,
        "status": "processing",
        "currency": currency,
        "total_amount": net + tax,
        "settlement_amount": net + tax,
        "settlement_currency": currency,
        "payment_provider": "dodo",
        **dict.fromkeys(NOT_YET),
        "customer": buyer.details,
        "billing": buyer.billing,
        "created_at": at,
        "updated_at": at,
        "metadata": {},
        "subscription_ids": [],
        "disputes": [],
        "refunds": [],
        "digital_products_delivered": False,
        "includes_usage": False,
        "is_multi_subscription": False,
        "is_update_payment_method": False,
        "retry_attempt": 0,
        "service_periods": [],
        **more,
    }
    return Thing("Payment", name, data, buyer, refundable=net + tax)


def settle(thing: Thing, chance: Random, now: int, status: str) -> None:
    """The end of a payment: only one that succeeded gets tax, a method and an invoice."""
    data = thing.data
    data |= {"status": status, "updated_at": timestamp(now)}
    if status == "failed":
        data["error_code"], data["error_message"] = chance.choice(ERRORS)
    if status != "succeeded":
        return
    method, kind = chance.choice(thing.buyer.market.methods)
    tax = data["total_amount"] - untaxed(thing)
    data |= {"tax": tax, "settlement_tax": tax, "payment_method": method, "payment_method_type": kind}
    data["invoice_id"] = data["invoice_id"] or f"inv_{thing.name[4:]}"
    if method == "card":
        data |= {"card_last_four": f"{chance.randrange(10_000):04}", "card_network": chance.choice(CARDS)}
        data |= {"card_type": "credit", "card_exp_month": "09", "card_exp_year": "2031"}


def untaxed(thing: Thing) -> int:
    """The net price: the smallest whole one that with its tax makes the total."""
    total, percent = int(thing.data["total_amount"]), thing.buyer.market.tax
    net = total * 100 // (100 + percent)
    while net + net * percent // 100 < total:
        net += 1
    return net


def refund(of: Thing, name: str, amount: int, now: int, **more: Any) -> Thing:
    """Of a payment, all of it or a part."""
    data: Data = {
        "refund_id": name,
        "payment_id": of.name,
        "business_id": of.data["business_id"],
        "brand_id": BRAND,
        "status": "pending",
        "amount": amount,
        "currency": of.data["currency"],
        "is_partial": amount < of.data["total_amount"],
        "customer": of.buyer.details,
        "created_at": timestamp(now),
        "metadata": {},
        "reason": None,
        "network_reference": None,
        "network_reference_type": None,
        "network_reference_updated_at": None,
        **more,
    }
    return Thing("Refund", name, data, of.buyer)


def dispute(of: Thing, name: str, amount: int, now: int) -> Thing:
    """Names no customer; its amount is text."""
    data: Data = {
        "dispute_id": name,
        "payment_id": of.name,
        "business_id": of.data["business_id"],
        "amount": str(amount),
        "currency": of.data["currency"],
        "dispute_stage": "dispute",
        "dispute_status": "dispute_opened",
        "created_at": timestamp(now),
        "is_resolved_by_rdr": None,
        "remarks": None,
    }
    return Thing("Dispute", name, data, of.buyer)


def licence_key(of: Thing, name: str, now: int, product: str) -> Thing:
    """Comes with a product or a plan that was paid."""
    data: Data = {
        "id": name,
        "business_id": of.data["business_id"],
        "brand_id": BRAND,
        "customer_id": of.buyer.customer_id,
        "product_id": product,
        "payment_id": of.name,
        "subscription_id": of.data["subscription_id"],
        "key": f"KEY-{name[4:12].upper()}-{name[12:20].upper()}",
        "status": "active",
        "source": "auto",
        "instances_count": 0,
        "activations_limit": 5,
        "expires_at": None,
        "created_at": timestamp(now),
    }
    return Thing("LicenseKey", name, data, of.buyer)
