"""What an operation of the api is, and the parameters, errors and headers that several have."""

from typing import NamedTuple

from msgspec import Struct

from services.api.keys import Scope
from services.api.parsing.values import DEPTH_MAX, PAGE_NUMBER_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, TEXT_MAX


class Parameter(NamedTuple):
    """`schema` as in OpenAPI."""

    name: str
    place: str
    description: str
    schema: dict[str, object]
    style: str = ""
    required: bool = False
    """Beside those in the path, which all are."""


class Operation(NamedTuple):
    """`errors`: the codes that are particular to it; those of every operation are in `COMMON_ERRORS`."""

    method: str
    path: str
    identifier: str
    summary: str
    description: str
    tag: str
    scope: Scope | None
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    headers: tuple[str, ...] = ()
    status: int = 200
    body_required: bool = True
    streams: tuple[str, ...] = ()
    """Media types of an answer that is no JSON document."""


TEXT: dict[str, object] = {
    "type": "string", "minLength": 1, "maxLength": TEXT_MAX, "pattern": r"^[^\x00]*$"
}  # fmt: skip
CURRENCY: dict[str, object] = {"type": "string", "pattern": "^[A-Z]{3}$"}
MOMENT: dict[str, object] = {"type": "string", "format": "date-time"}
_ONE = "[0-9]{1,4}:[0-9]{1,19}"
POSITION: dict[str, object] = {"type": "string", "pattern": f"^{_ONE}(, ?{_ONE})*$", "examples": ["0:0"]}

CUSTOMER = Parameter(
    "customer_id",
    "path",
    "Id of a customer of this business",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
)
KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes a repetition harmless, for ever: the same key gets the same outcome",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\x00]*$"},
)
PREFER = Parameter(
    "Prefer", "header", "respond-async: do not wait until reads show this write", {"type": "string"}
)
AT_LEAST = Parameter(
    "Ledger-Position", "header", "Answer only what includes this position, as a write returned it", POSITION
)
ENTRY = Parameter(
    "entry_id",
    "path",
    "Id of an entry of the blocklist",
    {"type": "string", "pattern": "^blk_[0-9A-Za-z]{21}$"},
)
PAGE = (
    Parameter(
        "page_number",
        "query",
        f"Counts from 0; pages end {DEPTH_MAX} rows deep",
        {"type": "integer", "minimum": 0, "maximum": PAGE_NUMBER_MAX, "default": 0},
    ),
    Parameter(
        "page_size",
        "query",
        "Rows per page",
        {"type": "integer", "minimum": 0, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE_DEFAULT},
    ),
)

INVALID_BODY = (
    (408, "REQUEST_TIMEOUT"),
    (413, "PAYLOAD_TOO_LARGE"),
    (415, "UNSUPPORTED_MEDIA_TYPE"),
    (422, "INVALID_REQUEST_BODY"),
    (422, "INVALID_REQUEST_PARAMETERS"),
)
INVALID_METADATA = ((422, "MAXIMUM_KEYS_REACHED"),)
NOT_FOUND = ((404, "NOT_FOUND"),)
INVALID_QUERY = ((422, "INVALID_QUERY_PARAMS"),)
OLD = ((422, "INVALID_REQUEST_PARAMETERS"), (503, "NOT_YET_VISIBLE"))
"""Of what takes AT_LEAST: reads, and writes that look something up in the read models first."""
WRITE = ((409, "IDEMPOTENCY_KEY_REUSED"), (503, "DEADLINE_EXCEEDED"), (504, "OUTCOME_UNKNOWN"))
CLOSED = ((409, "CUSTOMER_CLOSED"),)
WRITE_HEADERS = ("Ledger-Position", "Ledger-Applied", "Preference-Applied")

COMMON_ERRORS = (
    (401, "UNAUTHORIZED"),
    (429, "TOO_MANY_REQUESTS"),
    (500, "INTERNAL_SERVER_ERROR"),
    (503, "SERVICE_UNAVAILABLE"),
)
"""Of every operation that needs a key."""

HEADER_SCHEMAS: dict[str, dict[str, object]] = {
    "Ledger-Position": POSITION,
    "Ledger-Applied": {"type": "string", "enum": ["true", "false"]},
    "Preference-Applied": {"type": "string", "enum": ["respond-async"]},
}
"""Of headers of answers; any other is a text."""

HEADERS = {
    "Ledger-Position": "<shard>:<sequence> of the write, or that a read is as of; over all shards, several with commas",
    "Ledger-Applied": "true: reads show this write; false: not yet",
    "Ledger-Request-Id": "Of the request to upstream that this made: see /v1/customers/{customer_id}/requests",
    "Preference-Applied": "respond-async, when the wait was skipped",
    "Ledger-Usd-Rates": "US dollars per unit of each currency, as used for total_balance_usd",
    "X-RateLimit-Remaining": "Where keys have a rate: how many requests are left; see also -Limit and -Reset",
    "X-Request-Id": "The caller's, or made here; quote it to support",
}
