"""Loaded by schemathesis: what the document cannot say about a request, and nothing else.

Everything else that a valid request is refused for is a fault of the document or of the service.
"""

from typing import Any

import schemathesis
from schemathesis.core.failures import Failure

RULES = (
    ("UNSUPPORTED_CURRENCY", ""),  # which currencies are open is a setting
    ("INSUFFICIENT_WALLET_FUNDS", ""),
    ("BALANCE_LIMIT_EXCEEDED", ""),
    ("PAYMENT_NOT_SUCCEEDED", ""),
    ("PAYMENT_ALREADY_REFUNDED", ""),
    ("REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT", ""),
    ("EXISTING_REFUND_REQUEST_PROCESSING", ""),
    ("ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", ""),
    ("PARTIAL_REFUND_NOT_ALLOWED", ""),
    ("REFUND_TO_WALLET_NOT_ALLOWED", ""),
    ("LINE_ITEM_NOT_FOUND", ""),
    ("DUPLICATE_LINE_ITEMS_IN_REQUEST", ""),
    ("LINE_ITEM_REFUND_AMOUNT_TOO_LOW", ""),
    ("SUBSCRIPTION_INACTIVE", ""),
    ("SUBSCRIPTION_EXPIRED", ""),
    ("EXISTING_SUBSCRIPTION_CHANGE_PROCESSING", ""),
    ("INVALID_REQUEST_PARAMETERS", "pause cannot be set"),  # fields of the SDK that go with no other
    ("INVALID_REQUEST_PARAMETERS", "Nothing to change was given"),
    ("INVALID_REQUEST_PARAMETERS", "status can be set to"),
    ("INVALID_REQUEST_PARAMETERS", "status active or paused is sent alone"),
    ("INVALID_REQUEST_PARAMETERS", "next_billing_date is not a time"),
    ("INVALID_CURSOR", ""),  # opaque: only a page before it makes one
    ("INVALID_REQUEST_PARAMETERS", "Name the customer by customer_id or by email"),
    ("INVALID_REQUEST_PARAMETERS", "Idempotency-Key and idempotency_key differ"),
    # schemathesis takes "0" for a header of any pattern in its coverage phase
    ("INVALID_REQUEST_PARAMETERS", "Ledger-Position is <shard>:<sequence>"),
    ("INVALID_REQUEST_PARAMETERS", "Ledger-Position names no shard"),  # how many there are is a setting
    ("INVALID_REQUEST_PARAMETERS", "Several customers have this address"),
    # to JSON Schema 2020-12 a format is a note
    ("INVALID_REQUEST_BODY", "Invalid RFC3339 encoded datetime"),
    ("INVALID_QUERY_PARAMS", "balance_gte, balance_lte and sort by balance need a currency"),
    ("INVALID_QUERY_PARAMS", "currency goes with balance_gte"),
    ("INVALID_QUERY_PARAMS", "currency is the one that the payment was made in"),
    ("INVALID_QUERY_PARAMS", "Pages end"),  # the number and the size of a page together
)
"""Code and beginning of the message of refusals that follow from state, settings or two fields together."""
ENDED_BLOCK = "/blocklist/customers/{entry_id}"
"""DELETE ends a block; that there was one stays to be read."""


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """False: a valid request that was refused by one of the rules; a block that was ended, and says since when."""
    kind = type(failure).__name__
    if kind == "UseAfterFree":
        return not (case.path == ENDED_BLOCK and response.json().get("unblocked_at"))
    if kind != "RejectedPositiveData":
        return True
    said = response.json()
    return not any(said["code"] == code and said["message"].startswith(words) for code, words in RULES)


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """To JSON Schema 5.0 is an integer; here money is written without a fraction (docs/api.md)."""
    if isinstance(body, dict):
        return {name: map_body(context, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(context, value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body
