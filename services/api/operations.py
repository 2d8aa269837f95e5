"""Every operation of the api, once: what the OpenAPI document and the docs page are made of."""

from typing import NamedTuple

from msgspec import Struct

from services.api.keys import Scope
from services.api.parsing import DEPTH_MAX, PAGE_NUMBER_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from services.api.shapes import (
    BlockCustomer,
    BlockedCustomer,
    BlocklistPage,
    ChangeStatus,
    CreateCustomer,
    CreateLedgerEntry,
    Customer,
    CustomerPage,
    CustomerStatus,
    CustomerWallet,
    LedgerEntryPage,
    UpdateCustomer,
    WalletList,
)


class Parameter(NamedTuple):
    """`schema` as in OpenAPI."""

    name: str
    place: str
    description: str
    schema: dict[str, object]


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


_TEXT: dict[str, object] = {"type": "string"}
_MOMENT: dict[str, object] = {"type": "string", "format": "date-time"}
_POSITION: dict[str, object] = {"type": "string", "pattern": r"^\d{1,4}:\d{1,19}$"}

_CUSTOMER = Parameter(
    "customer_id",
    "path",
    "Id of a customer of this business",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
)
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Makes a repetition harmless, for ever: the same key gets the same outcome",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_PREFER = Parameter("Prefer", "header", "respond-async: do not wait until reads show this write", _TEXT)
_AT_LEAST = Parameter(
    "Ledger-Position", "header", "Answer only what includes this position, as a write returned it", _POSITION
)
_ENTRY = Parameter(
    "entry_id",
    "path",
    "Id of an entry of the blocklist",
    {"type": "string", "pattern": "^blk_[0-9A-Za-z]{21}$"},
)
_PAGE = (
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

_INVALID_BODY = (
    (413, "PAYLOAD_TOO_LARGE"),
    (415, "UNSUPPORTED_MEDIA_TYPE"),
    (422, "INVALID_REQUEST_BODY"),
    (422, "INVALID_REQUEST_PARAMETERS"),
)
_INVALID_METADATA = ((422, "MAXIMUM_KEYS_REACHED"),)
_NOT_FOUND = ((404, "NOT_FOUND"),)
_INVALID_QUERY = ((422, "INVALID_QUERY_PARAMS"),)
_OLD = ((422, "INVALID_REQUEST_PARAMETERS"), (503, "NOT_YET_VISIBLE"))
_WRITE = ((409, "IDEMPOTENCY_KEY_REUSED"), (503, "DEADLINE_EXCEEDED"), (504, "OUTCOME_UNKNOWN"))
_CLOSED = ((409, "CUSTOMER_CLOSED"),)
_WRITE_HEADERS = ("Ledger-Position", "Ledger-Applied", "Preference-Applied")

COMMON_ERRORS = ((401, "UNAUTHORIZED"), (500, "INTERNAL_SERVER_ERROR"), (503, "SERVICE_UNAVAILABLE"))
"""Of every operation that needs a key."""

HEADERS = {
    "Ledger-Position": "<shard>:<sequence> of the write, or that a read is as of",
    "Ledger-Applied": "true: reads show this write; false: not yet",
    "Preference-Applied": "respond-async, when the wait was skipped",
    "Ledger-Usd-Rates": "US dollars per unit of each currency, as used for total_balance_usd",
    "X-Request-Id": "The caller's, or made here; quote it to support",
}

OPERATIONS = (
    Operation(
        "post", "/customers", "createCustomer", "Create a customer",
        "With an Idempotency-Key the customer's id follows from the key: a repetition finds the same customer. "
        "Without one, each request makes a customer of its own.",
        "Customers", Scope.WRITE, CreateCustomer, Customer, (_KEY, _PREFER),
        (*_INVALID_BODY, *_INVALID_METADATA, *_WRITE), _WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers", "listCustomers", "List customers", "Newest first.",
        "Customers", Scope.READ, None, CustomerPage,
        (
            *_PAGE,
            Parameter("email", "query", "Exactly this address, whatever the case", _TEXT),
            Parameter("name", "query", "Part of the name, whatever the case", _TEXT),
            Parameter("created_at_gte", "query", "Created at or after", _MOMENT),
            Parameter("created_at_lte", "query", "Created at or before", _MOMENT),
            _AT_LEAST,
        ),
        (*_INVALID_QUERY, *_OLD),
    ),
    Operation(
        "get", "/customers/{customer_id}", "retrieveCustomer", "Retrieve a customer", "",
        "Customers", Scope.READ, None, Customer, (_CUSTOMER, _AT_LEAST),
        (*_NOT_FOUND, *_OLD), ("Ledger-Position",),
    ),
    Operation(
        "patch", "/customers/{customer_id}", "updateCustomer", "Change a customer's profile",
        "Absent: unchanged. Null clears preferred_locale and phone_number, empties metadata, and leaves name and "
        "email as they are.",
        "Customers", Scope.WRITE, UpdateCustomer, Customer, (_CUSTOMER, _KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, *_INVALID_BODY, *_INVALID_METADATA, *_WRITE), _WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers/{customer_id}/wallets", "listWallets", "List a customer's wallets",
        "Every open currency, at 0 where nothing happened.",
        "Wallets", Scope.READ, None, WalletList, (_CUSTOMER, _AT_LEAST),
        (*_NOT_FOUND, *_OLD), ("Ledger-Position", "Ledger-Usd-Rates"),
    ),
    Operation(
        "post", "/customers/{customer_id}/wallets/ledger-entries", "createLedgerEntry", "Credit or debit a wallet",
        "Answers with the wallet after the entry. A balance never goes below zero.",
        "Wallets", Scope.WRITE, CreateLedgerEntry, CustomerWallet, (_CUSTOMER, _KEY, _PREFER),
        (
            (400, "INSUFFICIENT_WALLET_FUNDS"), (400, "BALANCE_LIMIT_EXCEEDED"), *_NOT_FOUND, *_INVALID_BODY,
            (422, "UNSUPPORTED_CURRENCY"), (409, "CUSTOMER_BLOCKED"), *_CLOSED, *_WRITE,
        ),
        _WRITE_HEADERS,
    ),
    Operation(
        "get", "/customers/{customer_id}/wallets/ledger-entries", "listLedgerEntries", "List a customer's ledger",
        "Newest first.",
        "Wallets", Scope.READ, None, LedgerEntryPage,
        (_CUSTOMER, *_PAGE, Parameter("currency", "query", "Of this currency only", _TEXT), _AT_LEAST),
        (*_NOT_FOUND, *_INVALID_QUERY, *_OLD), ("Ledger-Position",),
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/block", "blockCustomer", "Block a customer",
        "No debits until unblocked; credits and changes of the profile go on. Who is blocked already stays so, since "
        "then and under the same entry; a reason given now replaces the one it had.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (_CUSTOMER, _KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, *_INVALID_BODY, *_WRITE), _WRITE_HEADERS, body_required=False,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/unblock", "unblockCustomer", "Unblock a customer",
        "A success as well where he was not blocked.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (_CUSTOMER, _KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, *_INVALID_BODY, *_WRITE), _WRITE_HEADERS, body_required=False,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/close", "closeCustomer", "Close a customer for good",
        "Refused while a wallet holds money. Afterwards every write is refused, reads go on. Cannot be undone.",
        "Lifecycle", Scope.WRITE, ChangeStatus, CustomerStatus, (_CUSTOMER, _KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, (409, "WALLET_NOT_EMPTY"), *_INVALID_BODY, *_WRITE), _WRITE_HEADERS,
        body_required=False,
    ),
    Operation(
        "post", "/blocklist/customers", "createBlocklistEntry", "Block a customer, by id or address",
        "Exactly one of customer_id and email. An address must belong to one customer. The block is of the customer, "
        "not of his address.",
        "Lifecycle", Scope.WRITE, BlockCustomer, BlockedCustomer, (_KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, *_INVALID_BODY, *_WRITE), _WRITE_HEADERS,
    ),
    Operation(
        "get", "/blocklist/customers", "listBlocklistEntries", "List who is blocked", "Newest first.",
        "Lifecycle", Scope.READ, None, BlocklistPage,
        (
            *_PAGE,
            Parameter("identifier", "query", "Part of the address or of the customer id, whatever the case", _TEXT),
            Parameter("blocked_by_email", "query", "Entries made from a dashboard: here there are none", _TEXT),
            Parameter("created_at_gte", "query", "Blocked at or after", _MOMENT),
            Parameter("created_at_lte", "query", "Blocked at or before", _MOMENT),
            _AT_LEAST,
        ),
        (*_INVALID_QUERY, *_OLD),
    ),
    Operation(
        "get", "/blocklist/customers/{entry_id}", "retrieveBlocklistEntry", "Retrieve an entry of the blocklist",
        "Also one that was ended.",
        "Lifecycle", Scope.READ, None, BlockedCustomer, (_ENTRY, _AT_LEAST),
        (*_NOT_FOUND, *_OLD), ("Ledger-Position",),
    ),
    Operation(
        "delete", "/blocklist/customers/{entry_id}", "deleteBlocklistEntry", "Unblock the customer of an entry",
        "Ends this block and no newer one; ending it again changes nothing. The entry must be visible to reads.",
        "Lifecycle", Scope.WRITE, None, None, (_ENTRY, _KEY, _PREFER),
        (*_NOT_FOUND, *_CLOSED, (422, "INVALID_REQUEST_PARAMETERS"), *_WRITE), _WRITE_HEADERS, status=204,
    ),
    Operation(
        "get", "/livez", "livez", "Is the process alive?", "Needs no key and asks nobody.", "Operations", None
    ),
    Operation(
        "get", "/readyz", "readyz", "Can it do its work?",
        "503 names what is missing: kafka, ledger, views, projections, clock.", "Operations", None,
        errors=((503, "not ready"),),
    ),
    Operation("get", "/metrics", "metrics", "Prometheus metrics", "", "Operations", None),
)  # fmt: skip
