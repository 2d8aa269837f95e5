"""From what upstream told to what the SDK reads. Ours counts before what is stored in clear, that before what came."""

from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from events.times import in_utc
from services.api.foreign_ports import Data, Instance, Part, Person, Told, Whole
from services.api.shapes.foreign import (
    NO_CURRENCY,
    PROVIDER,
    CustomerLimitedDetails,
    Dispute,
    LineItem,
    LineItems,
    Payment,
    PaymentBase,
    RefundListItem,
)
from services.api.shapes.licences import LicenseKey, LicenseKeyInstance
from services.api.shapes.subscriptions import SubscriptionBase

S = TypeVar("S", bound=Struct)
P = TypeVar("P", bound=PaymentBase)
R = TypeVar("R", bound=RefundListItem)
D = TypeVar("D", bound=Dispute)
N = TypeVar("N", bound=SubscriptionBase)

_TIMES = ("_at", "_date")
"""How names of times end."""


def shaped(shape: type[S], ours: Data, *told: Data) -> S:
    """Ours as it is; of what was told the first source that has a field. Null says nothing, nor does another type.

    Null in ours says that there is none: what is not known here is not in it.
    """
    sources = [ours, *(_said(shape, source) for source in told)]
    merged: Data = {}
    for source in reversed(sources):
        merged |= source
    with suppress(msgspec.ValidationError):
        return msgspec.convert(merged, shape)
    fitting = {}
    for field in msgspec.structs.fields(shape):
        for source in sources:
            with suppress(msgspec.ValidationError, KeyError):
                fitting[field.name] = msgspec.convert(source[field.name], field.type)
                break
    return shape(**fitting)


def _said(shape: type[Struct], source: Data) -> Data:
    """Of the shape's fields those that say something."""
    said = {
        name: _in_utc(name, source[name]) for name in shape.__struct_fields__ if source.get(name) is not None
    }
    if isinstance(said.get("metadata"), dict):
        said["metadata"] = {
            name: value for name, value in said["metadata"].items() if isinstance(value, str | int | float)
        }
    if isinstance(said.get("billing"), dict):
        said["billing"] = {name: value for name, value in said["billing"].items() if isinstance(value, str)}
    return said


def _in_utc(name: str, value: Any) -> Any:
    """Its times, by their names; metadata is the business's own."""
    match value:
        case str() if name.endswith(_TIMES):
            return _moment(value)
        case dict() if name != "metadata":
            return {within: _in_utc(within, part) for within, part in value.items()}
        case list():
            return [_in_utc(name, part) for part in value]
    return value


def _moment(text: str) -> datetime | str | None:
    """What is no time is left as it came: as a field it does not fit. What has no UTC says nothing."""
    try:
        return in_utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError:
        return text
    except OverflowError:
        return None


def payment(shape: type[P], business_id: str, told: Told, **more: Any) -> P:
    """In a list; alone it has `more`: its refunds and disputes."""
    row = told.row
    ours = {
        **_common(business_id, told),
        "status": row["status"],
        "currency": row["currency"],
        "total_amount": row["total_amount"],
        "brand_id": row["brand_id"],
        "refund_status": refund_status(row),
        "dispute_status": row["disputed"],
        **more,
    }
    otherwise = {
        "subscription_ids": [row["subscription_id"]] if row["subscription_id"] else [],
        "settlement_amount": row["total_amount"],
        "settlement_currency": row["currency"],
    }
    return shaped(shape, ours, told.known, told.object, otherwise)


def whole_payment(business_id: str, whole: Whole) -> Payment:
    """With its refunds and disputes."""
    told = whole.payment
    of = {
        "payment_id": told.known["payment_id"],
        "payment_total": told.row["total_amount"],
        "payment_currency": told.row["currency"],
    }
    refunds = [_refund(RefundListItem, business_id, part, part.row | of) for part in whole.refunds]
    disputes = [_dispute(Dispute, business_id, part, part.row | of) for part in whole.disputes]
    return payment(Payment, business_id, told, refunds=refunds, disputes=disputes)


def refund_status(row: Data) -> str | None:
    """Of what has succeeded."""
    if not row["succeeded"]:
        return None
    return "full" if row["refunded"] >= row["total_amount"] else "partial"


def line_items(whole: Whole, currency: str | None) -> LineItems | None:
    """In what it was settled, or as paid. None: another currency than it was paid in.

    What upstream tells of a cart has no amounts, so a cart of several lines is one item, named by the payment.
    """
    row, known = whole.payment.row, whole.payment.known
    if currency not in (None, row["currency"]):
        return None
    total, tax, paid = row["total_amount"], known.get("tax", 0), row["currency"]
    refundable = max(0, total - row["taken"]) if row["status"] == "succeeded" else 0
    settled = known.get("settlement_currency", paid)
    if currency is None and settled != paid and "settlement_amount" in known:
        left = known["settlement_amount"] * refundable // total if total else 0
        total, tax, paid, refundable = (
            known["settlement_amount"],
            known.get("settlement_tax", 0),
            settled,
            left,
        )
    cart = known.get("product_cart", [])
    name = cart[0]["product_id"] if len(cart) == 1 else known["payment_id"]
    return LineItems(
        currency=paid, items=[LineItem(items_id=name, amount=total, refundable_amount=refundable, tax=tax)]
    )


def refund(shape: type[R], business_id: str, told: Told) -> R:
    """Of one whose payment is not known here, the business is the brand."""
    ours = {
        "customer": person(told.person),
        "brand_id": told.known.get("brand_id") or told.row["brand_id"] or business_id,
    }
    return _refund(shape, business_id, told, told.row, **ours)


def dispute(shape: type[D], business_id: str, told: Told) -> D:
    """Of one whose payment is not known here, the business is the brand."""
    ours = {
        "customer": person(told.person),
        "brand_id": told.known.get("brand_id") or told.row["brand_id"] or business_id,
        "payment_provider": told.known.get("payment_provider") or told.row["provider"] or PROVIDER,
    }
    return _dispute(shape, business_id, told, told.row, **ours)


def subscription(shape: type[N], business_id: str, told: Told) -> N:
    """Where no date of billing was told, it is the day it began."""
    ours = {**_common(business_id, told), "status": told.row["status"], "brand_id": told.row["brand_id"]}
    otherwise = {"next_billing_date": told.created_at, "previous_billing_date": told.created_at}
    return shaped(shape, ours, told.known, told.object, otherwise)


def licence_key(business_id: str, told: Told) -> LicenseKey:
    """`instances_count`: as told, else as many as are listed."""
    known, row = told.known, told.row
    ours = {
        **_common(business_id, told),
        "id": known["licence_key_id"],
        "customer_id": told.person.customer_id,
        "brand_id": known.get("brand_id", business_id),
        "source": row["source"],
        "status": row["status"],
        "instances_count": known.get("instances_count", row["instances"]),
    }
    return shaped(LicenseKey, ours, known, told.object)


def instance(business_id: str, found: Instance) -> LicenseKeyInstance:
    return LicenseKeyInstance(
        id=found.instance_id,
        business_id=business_id,
        created_at=found.created_at,
        license_key_id=found.licence_key_id,
        name=found.name,
    )


def _common(business_id: str, told: Told) -> Data:
    return {"business_id": business_id, "created_at": told.created_at, "customer": person(told.person)}


def person(person: Person) -> CustomerLimitedDetails:
    return CustomerLimitedDetails(**person._asdict())


def _refund(shape: type[R], business_id: str, told: Told | Part, row: Data, **ours: Any) -> R:
    total = row["payment_total"]
    amount = total if row["amount"] is None else row["amount"]
    partial = total is not None and amount is not None and amount < total
    ours |= {
        "business_id": business_id,
        "created_at": told.created_at,
        "payment_id": row["payment_id"],
        "status": row["status"],
        "is_partial": told.known.get("is_partial", partial),
    }
    money = {"amount": amount, "currency": row["currency"] or row["payment_currency"]}
    ours |= {name: value for name, value in money.items() if value is not None}
    return shaped(shape, ours, told.known, told.object)


def _dispute(shape: type[D], business_id: str, told: Told | Part, row: Data, **ours: Any) -> D:
    amount = row["payment_total"] if row["amount"] is None else row["amount"]
    ours |= {
        "business_id": business_id,
        "created_at": told.created_at,
        "payment_id": row["payment_id"],
        "dispute_status": row["status"],
        "dispute_stage": row["stage"],
        "amount": str(amount or 0),
        "currency": row["currency"] or row["payment_currency"] or NO_CURRENCY,
    }
    return shaped(shape, ours, told.known, told.object)
