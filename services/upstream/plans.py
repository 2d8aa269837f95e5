"""Subscriptions as the payment service shows them, and news of theirs that nothing follows from."""

from typing import Any

from events.codec import timestamp
from services.upstream.things import Buyer, Data, Thing
from services.upstream.trade import BRAND, DAY, PLANS

PERIODS = {"Week": 7 * DAY, "Month": 30 * DAY}

NOT_YET = (
    "cancelled_at",
    "cancelled_by",
    "cancellation_comment",
    "cancellation_feedback",
    "paused_at",
    "expires_at",
    "payment_method_id",
    "scheduled_change",
    "tax_id",
    "customer_business_name",
)


def subscription(business: str, name: str, buyer: Buyer, now: int, price: int, interval: str) -> Thing:
    """Pending, until its first payment has succeeded."""
    at = timestamp(now)
    data: Data = {
        "subscription_id": name,
        "brand_id": BRAND,
        "status": "pending",
        "product_id": PLANS[1],
        "quantity": 1,
        "currency": buyer.market.currency,
        "recurring_pre_tax_amount": price,
        "tax_inclusive": False,
        "trial_period_days": 0,
        "payment_frequency_count": 1,
        "payment_frequency_interval": interval,
        "subscription_period_count": 1,
        "subscription_period_interval": "Year",
        "created_at": at,
        "previous_billing_date": at,
        "next_billing_date": timestamp(now + PERIODS[interval]),
        "cancel_at_next_billing_date": False,
        "on_demand": False,
        "has_payment_method": True,
        **dict.fromkeys(NOT_YET),
        "customer": buyer.details,
        "billing": buyer.billing,
        "metadata": {},
        "addons": [],
        "meters": [],
        "credit_entitlement_cart": [],
        "meter_credit_entitlement_cart": [],
    }
    return Thing("Subscription", name, {**data, "business_id": business}, buyer)


def dunning(of: Thing, now: int, status: str) -> Data:
    """The service tries to get the money after all."""
    return {
        "brand_id": BRAND,
        "created_at": timestamp(now),
        "customer_id": of.buyer.customer_id,
        "status": status,
        "subscription_id": of.name,
        "trigger_state": "on_hold",
        "payment_id": None,
    }


def abandoned(of: Thing, now: int) -> Data:
    """A checkout that came to nothing."""
    return {
        "abandoned_at": timestamp(now),
        "abandonment_reason": "payment_failed",
        "brand_id": BRAND,
        "customer_id": of.buyer.customer_id,
        "payment_id": of.name,
        "status": "abandoned",
        "recovered_payment_id": None,
    }


def entitlement_credit(business: str, name: str, buyer: Buyer, now: int) -> Data:
    """Units of a plan: no money of a wallet, though the word is the same."""
    return {
        "id": name,
        "business_id": business,
        "brand_id": BRAND,
        "customer_id": buyer.customer_id,
        "credit_entitlement_id": "cde_Tokens",
        "amount": "1000.5",
        "balance_before": "0",
        "balance_after": "1000.5",
        "overage_before": "0",
        "overage_after": "0",
        "is_credit": True,
        "transaction_type": "credit_added",
        "metadata": {},
        "created_at": timestamp(now),
        "description": None,
        "grant_id": None,
        "reference_id": None,
        "reference_type": None,
    }


def payout(business: str, name: str, now: int, amount: int) -> Data:
    """Money of the business itself: it concerns no customer."""
    at = timestamp(now)
    figures: dict[str, Any] = {
        "amount": amount,
        "chargebacks": 0,
        "fee": amount // 50,
        "refunds": 0,
        "tax": 0,
    }
    return {
        **figures,
        "business_id": business,
        "currency": "USD",
        "payout_id": name,
        "payment_method": "ach",
        "status": "not_initiated",
        "created_at": at,
        "updated_at": at,
        "name": None,
        "payout_document_url": None,
        "remarks": None,
    }
