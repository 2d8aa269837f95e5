"""Bodies of requests about upstream's objects, made into what the ledger is asked, or refused. Pure."""

from datetime import datetime

import msgspec
from msgspec import UNSET

from events.requests import RefundItem, RequestRefund, RequestSubscriptionChange, SubscriptionChange
from events.times import in_utc, written
from services.api.errors import ApiError, invalid_body, invalid_parameters
from services.api.foreign_ports import Told
from services.api.shapes.customers import or_unset
from services.api.shapes.requests import CreateRefund, UpdateSubscription
from services.nesting import NESTED_MAX, is_deep

ASKABLE = frozenset({"active", "paused", "cancelled"})
ALONE = frozenset({"active", "paused"})


def refund_of(body: CreateRefund, payment: Told) -> RequestRefund:
    """
    Raises:
        ApiError: 422, items that nobody here can know the amounts of, or that are none of this payment.
    """
    if "wallet_action" in (body.metadata or {}):
        raise invalid_parameters(
            "metadata.wallet_action is upstream's: /v1/refunds/to-wallet gives back to the wallet"
        )
    return RequestRefund(
        payment_id=body.payment_id,
        currency=or_unset(body.currency),
        items=_items(body, payment) or UNSET,
        reason=or_unset(body.reason),
        metadata=or_unset(body.metadata),
    )


def change_of(subscription_id: str, body: UpdateSubscription) -> RequestSubscriptionChange:
    """
    Raises:
        ApiError: 422, nothing, or what cannot be asked for, or not together, or nested too deep.
    """
    given = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
    if "pause" in given:
        raise invalid_parameters("pause cannot be set: send status paused or active")
    if not given:
        raise invalid_parameters("Nothing to change was given")
    status = given.get("status")
    if status is not None and status not in ASKABLE:
        raise invalid_parameters("status can be set to active, paused or cancelled")
    if status in ALONE and len(given) > 1:
        raise invalid_parameters("status active or paused is sent alone")
    if is_deep(given):
        raise invalid_body(f"Objects and lists lie in each other at most {NESTED_MAX} deep")
    if "next_billing_date" in given:
        given["next_billing_date"] = _moment(given["next_billing_date"])
    return RequestSubscriptionChange(
        subscription_id=subscription_id, change=msgspec.convert(given, SubscriptionChange)
    )


def _items(body: CreateRefund, payment: Told) -> list[RefundItem]:
    """None: all that is left."""
    items = body.items or []
    if len({item.item_id for item in items}) < len(items):
        raise ApiError(422, "DUPLICATE_LINE_ITEMS_IN_REQUEST", "An item may be named once")
    cart = [line["product_id"] for line in payment.known.get("product_cart", [])]
    known = {body.payment_id, *cart}
    if any(item.item_id not in known for item in items):
        raise ApiError(422, "LINE_ITEM_NOT_FOUND", "The payment has no such item")
    if (
        len(items) == 1
        and items[0].amount is None
        and (len(cart) == 1 or items[0].item_id == body.payment_id)
    ):
        return []
    settled = payment.known.get("settlement_currency", payment.row["currency"])
    if items and body.currency is None and settled != payment.row["currency"]:
        raise ApiError(422, "UNSUPPORTED_CURRENCY", "Name the currency of the payment: amounts are in that")
    return [
        RefundItem(item_id=item.item_id, amount=_amount(item.amount, item.tax_inclusive)) for item in items
    ]


def _amount(amount: int | None, tax_inclusive: bool) -> int:
    """Upstream tells the amount and tax of a payment, not of its lines."""
    if amount is None or not tax_inclusive:
        raise ApiError(
            422,
            "PARTIAL_REFUND_NOT_ALLOWED",
            "Of an item of several, say the amount with its tax: it is not known",
        )
    if amount == 0:
        raise ApiError(422, "LINE_ITEM_REFUND_AMOUNT_TOO_LOW", "The amount of an item is above zero")
    return amount


def _moment(value: datetime) -> str:
    """As we write moments; UTC where it does not say."""
    try:
        return written(in_utc(value))
    except OverflowError as error:
        raise invalid_parameters("next_billing_date is not a time in these ages") from error
