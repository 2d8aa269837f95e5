"""The operations under `/v1` that find customers and ledger entries."""

from typing import get_args

from events.facts import Cause
from events.money import AMOUNT_MAX
from services.api.documents.operation import (
    AT_LEAST,
    CURRENCY,
    CUSTOMER,
    INVALID_QUERY,
    MOMENT,
    NOT_FOUND,
    OLD,
    TEXT,
    Operation,
    Parameter,
)
from services.api.keys import Scope
from services.api.lookups import COUNTED_MAX
from services.api.parsing.lookups import LIMIT_DEFAULT, LIMIT_MAX, METADATA_MAX, WORDS_MAX
from services.api.shapes.lookups import (
    CustomerDetail,
    CustomerList,
    CustomerTransactionList,
    LedgerEntry,
    LedgerEntryList,
    Status,
)
from services.api.shapes.requests import CustomerRequestList

_AMOUNT: dict[str, object] = {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX}
_REFERENCE: dict[str, object] = {"type": "string", "pattern": r"^[\x21-\x7e]{1,128}$"}
_PAIRS: dict[str, object] = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,40}$"},
    "additionalProperties": TEXT,
    "maxProperties": METADATA_MAX,
}
_SPACES = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Between words, to Python; a JSON Schema has another set."""

_WORD = rf"[^{_SPACES}\x00]+"
_WORDS = TEXT | {"pattern": rf"^[{_SPACES}]*{_WORD}([{_SPACES}]+{_WORD}){{0,{WORDS_MAX - 1}}}[{_SPACES}]*$"}
_INVALID_CURSOR = ((422, "INVALID_CURSOR"),)


def _choice(*values: str) -> dict[str, object]:
    return {"type": "string", "enum": list(values)}


_PAGE = (
    Parameter(
        "limit",
        "query",
        "Items per page; a page may be shorter",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    Parameter("cursor", "query", "next_cursor of the page before, with the same filter and order", TEXT),
    Parameter(
        "total",
        "query",
        f"true: count too; exact without a filter, and up to {COUNTED_MAX} with one",
        {"type": "boolean", "default": False},
    ),
)
_TIMES = (
    Parameter("created_at_gte", "query", "At or after", MOMENT),
    Parameter("created_at_lte", "query", "At or before", MOMENT),
)
_CUSTOMERS = (
    Parameter(
        "search",
        "query",
        f"Up to {WORDS_MAX} words; each must be part of name, email or id, whatever the case and the accents",
        _WORDS,
    ),
    *_TIMES,
    Parameter("status", "query", "Of this status only", _choice(*get_args(Status))),
    Parameter(
        "metadata", "query", "metadata[tier]=gold: with this pair; up to five of them", _PAIRS, "deepObject"
    ),
    Parameter("currency", "query", "Of which balances are meant", CURRENCY),
    Parameter("balance_gte", "query", "Balance in this currency at least", _AMOUNT),
    Parameter("balance_lte", "query", "Balance in this currency at most", _AMOUNT),
    Parameter(
        "sort",
        "query",
        "By balance: only customers with an entry in this currency",
        _choice("-created_at", "created_at", "name", "-name", "balance", "-balance"),
    ),
)
_OF_ONE = (
    *_TIMES,
    Parameter("currency", "query", "Of this currency only", CURRENCY),
    Parameter("cause", "query", "Of this cause only", _choice(*Cause)),
    Parameter("reference", "query", "With exactly this reference", _REFERENCE),
    Parameter("direction", "query", "Of this direction only", _choice("credit", "debit")),
    Parameter("sort", "query", "Newest first unless said otherwise", _choice("-created_at", "created_at")),
)
_OF_ALL = (
    Parameter(
        "customer_id",
        "query",
        "Of this customer only",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    ),
    *_OF_ONE,
)
_FORMAT = Parameter("format", "query", "csv unless said otherwise", _choice("csv", "ndjson"))
_EXPORT = (
    "The same filter as a stream. It is cut off, its end missing, if it grows too long, takes too long or is not "
    "read: then it is not whole."
)
_MEDIA_TYPES = ("text/csv", "application/x-ndjson")
_ENTRY_ID = Parameter("entry_id", "path", "Id of an entry of this business", CUSTOMER.schema)
_AS_OF = ("Ledger-Position",)

LOOKUPS = (
    Operation(
        "get", "/v1/customers", "findCustomers", "Find customers",
        "By what they are called, what they hold, when they came. Pages by cursor, stable under writes.",
        "Lookups", Scope.READ, None, CustomerList, (*_CUSTOMERS, *_PAGE, AT_LEAST),
        (*INVALID_QUERY, *_INVALID_CURSOR, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/customers/{customer_id}", "retrieveCustomerDetail", "Retrieve a customer with balances", "",
        "Lookups", Scope.READ, None, CustomerDetail, (CUSTOMER, AT_LEAST), (*NOT_FOUND, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/customers/{customer_id}/transactions", "listTransactions", "List a customer's payments for people",
        "Newest first: status, pricing and method in words, and what was given back.",
        "Lookups", Scope.READ, None, CustomerTransactionList, (CUSTOMER, *_PAGE[:2], AT_LEAST),
        (*NOT_FOUND, *INVALID_QUERY, *_INVALID_CURSOR, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/customers/{customer_id}/requests", "listRequests", "List what was asked of upstream for a customer",
        "Newest first: refunds, changes of subscriptions, top-ups. pending until upstream answers, then settled, failed "
        "or declined.",
        "Lookups", Scope.READ, None, CustomerRequestList, (CUSTOMER, *_PAGE[:2], AT_LEAST),
        (*NOT_FOUND, *INVALID_QUERY, *_INVALID_CURSOR, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/ledger-entries", "findLedgerEntries", "Find ledger entries", "Of all customers.",
        "Lookups", Scope.READ, None, LedgerEntryList, (*_OF_ALL, *_PAGE, AT_LEAST),
        (*INVALID_QUERY, *_INVALID_CURSOR, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/customers/{customer_id}/ledger-entries", "findLedgerEntriesOfCustomer",
        "Find ledger entries of a customer", "",
        "Lookups", Scope.READ, None, LedgerEntryList, (CUSTOMER, *_OF_ONE, *_PAGE, AT_LEAST),
        (*NOT_FOUND, *INVALID_QUERY, *_INVALID_CURSOR, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/ledger-entries/{entry_id}", "retrieveLedgerEntry", "Retrieve a ledger entry", "",
        "Lookups", Scope.READ, None, LedgerEntry, (_ENTRY_ID, AT_LEAST), (*NOT_FOUND, *OLD), _AS_OF,
    ),
    Operation(
        "get", "/v1/ledger-entries/export", "exportLedgerEntries", "Export ledger entries", _EXPORT,
        "Lookups", Scope.READ, None, None, (*_OF_ALL, _FORMAT, AT_LEAST),
        (*INVALID_QUERY, *OLD, (503, "EXPORTS_BUSY")), _AS_OF, streams=_MEDIA_TYPES,
    ),
    Operation(
        "get", "/v1/customers/{customer_id}/ledger-entries/export", "exportLedgerEntriesOfCustomer",
        "Export ledger entries of a customer", _EXPORT,
        "Lookups", Scope.READ, None, None, (CUSTOMER, *_OF_ONE, _FORMAT, AT_LEAST),
        (*NOT_FOUND, *INVALID_QUERY, *OLD, (503, "EXPORTS_BUSY")), _AS_OF, streams=_MEDIA_TYPES,
    ),
)  # fmt: skip
