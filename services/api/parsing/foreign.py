"""Queries of lists of what upstream told, made into filters or refused. Unknown parameters are ignored, as by the SDK."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from services.api.call import Call
from services.api.errors import invalid_query, not_found
from services.api.foreign_ports import (
    DISPUTES,
    LICENCE_KEYS,
    PAYMENTS,
    REFUNDS,
    SUBSCRIPTIONS,
    TIMES,
    Data,
    Kind,
)
from services.api.parsing.values import currency_of, moment_of, page_of, query_of
from services.api.ports import Page

PAYMENT_STATUSES = (
    "succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_merchant_action",
    "requires_payment_method", "requires_confirmation", "requires_capture", "partially_captured",
    "partially_captured_and_capturable",
)  # fmt: skip
REFUND_STATUSES = ("succeeded", "failed", "pending", "review")
DISPUTE_STATUSES = tuple(
    f"dispute_{word}" for word in ("opened", "expired", "accepted", "cancelled", "challenged", "won", "lost")
)
DISPUTE_STAGES = ("pre_dispute", "dispute", "pre_arbitration")
SUBSCRIPTION_STATUSES = (
    "pending", "active", "on_hold", "paused", "cancelled", "failed", "expired", "past_due",
)  # fmt: skip
LICENCE_KEY_STATUSES = ("active", "expired", "disabled")
SOURCES = ("auto", "import", "manual")
BOOLEANS = {"true": True, "false": False}

_FOREIGN_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Listing(NamedTuple):
    """How a list of a kind is asked: `words` may each be one of these; `renamed` are ours for names of the SDK."""

    kind: Kind
    words: Mapping[str, tuple[str, ...]]
    renamed: Mapping[str, str] = {}

    @property
    def parameters(self) -> frozenset[str]:
        theirs = {ours: name for name, ours in self.renamed.items()}
        return frozenset(theirs.get(name, name) for name in self.kind.filters)


LISTINGS = {
    PAYMENTS: Listing(PAYMENTS, {"status": PAYMENT_STATUSES}),
    REFUNDS: Listing(REFUNDS, {"status": REFUND_STATUSES}),
    DISPUTES: Listing(
        DISPUTES,
        {"dispute_status": DISPUTE_STATUSES, "dispute_stage": DISPUTE_STAGES},
        {"dispute_status": "status", "dispute_stage": "stage"},
    ),
    SUBSCRIPTIONS: Listing(
        SUBSCRIPTIONS, {"status": SUBSCRIPTION_STATUSES, "cancel_at_next_billing_date": tuple(BOOLEANS)}
    ),
    LICENCE_KEYS: Listing(LICENCE_KEYS, {"status": LICENCE_KEY_STATUSES, "source": SOURCES}),
}
_PAGE = frozenset({"page_number", "page_size"})


def listing_of(call: Call, kind: Kind) -> tuple[Page, Data]:
    """
    Raises:
        ApiError: 422.
    """
    listing = LISTINGS[kind]
    query = query_of(call, listing.parameters | _PAGE)
    for name, choices in listing.words.items():
        if name in query and query[name] not in choices:
            raise invalid_query(f"{name} is one of {', '.join(choices)}")
    where: Data = {
        listing.renamed.get(name, name): value for name, value in query.items() if name not in _PAGE
    }
    currency_of(where)
    where |= {name: moment_of(query, name) for name in TIMES if name in query}
    if "cancel_at_next_billing_date" in where:
        where["cancel_at_next_billing_date"] = BOOLEANS[where["cancel_at_next_billing_date"]]
    return page_of(query), where


def instances_of(call: Call) -> tuple[Page, Mapping[str, str]]:
    """
    Raises:
        ApiError: 422.
    """
    query = query_of(call, _PAGE | {"license_key_id", "grant_id"})
    return page_of(query), query


def foreign_id(text: str) -> str:
    """An id of upstream from a path: what cannot be one is not found."""
    if not _FOREIGN_ID.fullmatch(text):
        raise not_found()
    return text
