"""What upstream payment services tell of their objects, as far as it names nobody.

Both what is asked of the ledger and what it records hold these; the object as it came is sealed beside them.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from events.money import AMOUNT_MAX, Currency, Minor
from events.times import Timestamp

ForeignId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+\Z")]
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:/-]+\Z")]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Print = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{16}\Z", description="keyed: tells two contents apart, and no more")
]

FAILED = frozenset({"failed", "cancelled"})
"""Statuses of a payment from which nothing comes."""

LASTING = {
    **dict.fromkeys(("failed", "cancelled", "expired"), 1),
    **dict.fromkeys(("dispute_expired", "dispute_accepted", "dispute_lost"), 1),
    **dict.fromkeys(("succeeded", "dispute_won", "dispute_cancelled"), 2),
}
"""Of two words of one moment the one with the higher number is the later; any other status, 0, passes. Never changed:
whoever folds or replays must come to the same."""


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When and why upstream said it: of one object the newest counts. `updated`: the object's own word on its age."""

    type: Word
    time: Timestamp
    updated: Timestamp | UnsetType = UNSET


class AsTold(Struct, frozen=True, kw_only=True):
    """Upstream named the customer so at `time`; `print` tells whether it did so otherwise before."""

    time: Timestamp
    print: Print


class CartItem(Struct, frozen=True, kw_only=True):
    product_id: ForeignId
    quantity: Count


class Payment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`wallet_action`, `request_id`: of its metadata. The first says what it is for, e.g. `top_up`, the second for whom."""

    payment_id: ForeignId
    status: Word
    currency: Currency
    total_amount: Minor
    tax: Minor | UnsetType = UNSET
    settlement_amount: Minor | UnsetType = UNSET
    settlement_currency: Currency | UnsetType = UNSET
    settlement_tax: Minor | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    wallet_action: Word | UnsetType = UNSET
    payment_method: Word | UnsetType = UNSET
    payment_method_type: Word | UnsetType = UNSET
    payment_provider: Word | UnsetType = UNSET
    card_network: Word | UnsetType = UNSET
    charge_type: Word | UnsetType = UNSET
    error_code: Word | UnsetType = UNSET
    brand_id: ForeignId | UnsetType = UNSET
    subscription_id: ForeignId | UnsetType = UNSET
    invoice_id: ForeignId | UnsetType = UNSET
    checkout_session_id: ForeignId | UnsetType = UNSET
    discount_id: ForeignId | UnsetType = UNSET
    product_cart: Annotated[list[CartItem], Meta(max_length=100)] | UnsetType = UNSET
    request_id: ForeignId | UnsetType = UNSET


class Refund(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Without an amount: all of the payment."""

    refund_id: ForeignId
    payment_id: ForeignId
    status: Word
    amount: Minor | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    is_partial: bool | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    wallet_action: Word | UnsetType = UNSET
    brand_id: ForeignId | UnsetType = UNSET


class Dispute(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Without an amount that can be read: all of the payment."""

    dispute_id: ForeignId
    payment_id: ForeignId
    dispute_status: Word
    dispute_stage: Word | UnsetType = UNSET
    amount: Minor | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    is_resolved_by_rdr: bool | UnsetType = UNSET
    payment_provider: Word | UnsetType = UNSET
    brand_id: ForeignId | UnsetType = UNSET


SUBSCRIPTION_OVER = frozenset({"cancelled", "expired", "failed"})
"""Statuses of a subscription that nothing changes any more."""


class Subscription(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A paid plan and how it renews."""

    subscription_id: ForeignId
    status: Word
    product_id: ForeignId | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    recurring_pre_tax_amount: Minor | UnsetType = UNSET
    quantity: Count | UnsetType = UNSET
    tax_inclusive: bool | UnsetType = UNSET
    on_demand: bool | UnsetType = UNSET
    has_payment_method: bool | UnsetType = UNSET
    cancel_at_next_billing_date: bool | UnsetType = UNSET
    trial_period_days: Count | UnsetType = UNSET
    payment_frequency_count: Count | UnsetType = UNSET
    payment_frequency_interval: Word | UnsetType = UNSET
    subscription_period_count: Count | UnsetType = UNSET
    subscription_period_interval: Word | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    previous_billing_date: Timestamp | UnsetType = UNSET
    next_billing_date: Timestamp | UnsetType = UNSET
    cancelled_at: Timestamp | UnsetType = UNSET
    paused_at: Timestamp | UnsetType = UNSET
    expires_at: Timestamp | UnsetType = UNSET
    past_due_ends_at: Timestamp | UnsetType = UNSET
    discount_id: ForeignId | UnsetType = UNSET
    payment_method_id: ForeignId | UnsetType = UNSET
    payment_id: ForeignId | UnsetType = UNSET
    brand_id: ForeignId | UnsetType = UNSET
    request_id: ForeignId | UnsetType = UNSET


class LicenceKey(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The key itself is sealed."""

    licence_key_id: ForeignId
    status: Word
    product_id: ForeignId | UnsetType = UNSET
    payment_id: ForeignId | UnsetType = UNSET
    subscription_id: ForeignId | UnsetType = UNSET
    source: Word | UnsetType = UNSET
    instances_count: Count | UnsetType = UNSET
    activations_limit: Count | UnsetType = UNSET
    created_at: Timestamp | UnsetType = UNSET
    expires_at: Timestamp | UnsetType = UNSET
    brand_id: ForeignId | UnsetType = UNSET


class Effect(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule has done to the wallet for one object until now: `moved` + credited, - taken, and what it lacked."""

    rule: Word
    reference: ForeignId
    currency: Currency
    moved: Annotated[int, Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
    short: Minor = 0
    withheld: Annotated[Word, Meta(description="why a credit was not given")] | UnsetType = UNSET
