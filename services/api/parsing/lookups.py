"""Queries of `/v1` lists, made into lookups or refused. Unknown parameters are refused: a typo must not drop a filter."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args

from events.facts import Cause
from events.ids import Tenant
from events.money import AMOUNT_MAX
from services.api.call import Call
from services.api.cursor import Cursors, Micros, Number, Word, moment
from services.api.errors import invalid_query
from services.api.lookups import CustomerLookup, EntryLookup
from services.api.parsing.values import CUSTOMER_ID, currency_of, moment_of, number_of, pairs_of
from services.api.shapes.lookups import Status

LIMIT_DEFAULT = 25
LIMIT_MAX = 100
WORDS_MAX = 8
METADATA_MAX = 5

_METADATA = re.compile(r"metadata\[([A-Za-z0-9_-]{1,40})\]")
_REFERENCE = re.compile(r"[\x21-\x7e]{1,128}")
_DIRECTIONS = {"credit": True, "debit": False}
_TRUE = {"true": True, "false": False}
_ORDERS = ("created_at", "name", "balance")

_PAGE = frozenset({"limit", "cursor", "total"})
CUSTOMERS = _PAGE | {
    "search", "created_at_gte", "created_at_lte", "currency", "balance_gte", "balance_lte", "status", "sort",
}  # fmt: skip
ENTRIES_OF_ONE = frozenset(
    {"currency", "cause", "reference", "direction", "created_at_gte", "created_at_lte", "sort"}
)
ENTRIES = ENTRIES_OF_ONE | {"customer_id"}

_CUSTOMER_PLACES: dict[str, Any] = {
    "created_at": tuple[Micros, Word],
    "name": tuple[Word, Word],
    "balance": tuple[Number, Word],
}


class Listing(NamedTuple):
    """What a list is asked besides its filter."""

    cursors: Cursors
    total: bool


def customers_of(call: Call, tenant: Tenant) -> tuple[CustomerLookup, Listing]:
    """
    Raises:
        ApiError: 422.
    """
    query, metadata = _query(call, CUSTOMERS)
    order, descending = _sort(query, _ORDERS)
    lookup = CustomerLookup(
        words=_words(query),
        currency=currency_of(query),
        balance_gte=number_of(query, "balance_gte", None, AMOUNT_MAX),
        balance_lte=number_of(query, "balance_lte", None, AMOUNT_MAX),
        created_at_gte=moment_of(query, "created_at_gte"),
        created_at_lte=moment_of(query, "created_at_lte"),
        metadata=tuple(metadata.items()),
        status=_one_of(query, "status", get_args(Status)),
        order=order,
        descending=descending,
        limit=_limit(query),
    )
    uses_balance = order == "balance" or lookup.balance_gte is not None or lookup.balance_lte is not None
    if uses_balance and lookup.currency is None:
        raise invalid_query("balance_gte, balance_lte and sort by balance need a currency")
    if lookup.currency is not None and not uses_balance:
        raise invalid_query("currency goes with balance_gte, balance_lte or sort by balance")
    listed = query | {f"metadata[{name}]": value for name, value in metadata.items()}
    cursors = _cursors("/v1/customers", tenant, listed, _CUSTOMER_PLACES[order])
    return lookup._replace(after=_after(query, cursors)), Listing(cursors, _asks_total(query))


def entries_of(call: Call, tenant: Tenant, owner: str | None) -> tuple[EntryLookup, Listing]:
    """`owner`: the customer that the path names.

    Raises:
        ApiError: 422.
    """
    query, _ = _query(call, _PAGE | (ENTRIES if owner is None else ENTRIES_OF_ONE), metadata_max=0)
    lookup = entry_filter_of(query, owner)._replace(limit=_limit(query))
    place = tuple[Number] if lookup.by_sequence else tuple[Micros, Number, Number]
    cursors = _cursors("/v1/ledger-entries", tenant, query | {"owner": owner or ""}, place)
    return lookup._replace(after=_after(query, cursors)), Listing(cursors, _asks_total(query))


Tab = tuple[int, tuple[datetime, str] | None, Cursors]
"""How many, from where on, and what makes the next cursor."""


def transactions_of(call: Call, tenant: Tenant, owner: str) -> Tab:
    """
    Raises:
        ApiError: 422.
    """
    return _tab(call, tenant, owner, "/v1/transactions")


def requests_of(call: Call, tenant: Tenant, owner: str) -> Tab:
    """
    Raises:
        ApiError: 422.
    """
    return _tab(call, tenant, owner, "/v1/requests")


def export_of(call: Call, owner: str | None) -> tuple[EntryLookup, str]:
    """The filter of a list, and the format.

    Raises:
        ApiError: 422.
    """
    query, _ = _query(call, (ENTRIES if owner is None else ENTRIES_OF_ONE) | {"format"}, metadata_max=0)
    return entry_filter_of(query, owner), _one_of(query, "format", ("csv", "ndjson")) or "csv"


def entry_filter_of(query: Mapping[str, str], owner: str | None) -> EntryLookup:
    given = query.get("customer_id")
    reference = query.get("reference")
    if reference is not None and not _REFERENCE.fullmatch(reference):
        raise invalid_query("reference has 1 to 128 visible ASCII characters")
    _, descending = _sort(query, ("created_at",))
    direction = _one_of(query, "direction", tuple(_DIRECTIONS))
    return EntryLookup(
        customer_id=owner if given is None else _customer(given),
        currency=currency_of(query),
        cause=_one_of(query, "cause", tuple(Cause)),
        reference=reference,
        is_credit=None if direction is None else _DIRECTIONS[direction],
        created_at_gte=moment_of(query, "created_at_gte"),
        created_at_lte=moment_of(query, "created_at_lte"),
        descending=descending,
    )


def _tab(call: Call, tenant: Tenant, owner: str, route: str) -> Tab:
    query, _ = _query(call, frozenset({"limit", "cursor"}), metadata_max=0)
    cursors = _cursors(route, tenant, query | {"owner": owner}, tuple[Micros, Word])
    after = _after(query, cursors)
    return _limit(query), None if after is None else (moment(after[0]), after[1]), cursors


def _customer(text: str) -> str:
    if not CUSTOMER_ID.fullmatch(text):
        raise invalid_query("customer_id has 1 to 64 characters of A-Z a-z 0-9 _ -")
    return text


def _query(
    call: Call, known: frozenset[str], metadata_max: int = METADATA_MAX
) -> tuple[dict[str, str], dict[str, str]]:
    query: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in pairs_of(call):
        found = _METADATA.fullmatch(name) if metadata_max else None
        into, key = (metadata, found[1]) if found else (query, name)
        if found is None and name not in known:
            raise invalid_query(f"There is no parameter of that name: there are {', '.join(sorted(known))}")
        if key in into:
            raise invalid_query("Each parameter may be given once")
        into[key] = value
    if len(metadata) > metadata_max:
        raise invalid_query(f"metadata has at most {metadata_max} filters")
    return query, metadata


def _cursors(route: str, tenant: Tenant, query: Mapping[str, str], place: Any) -> Cursors:
    """Bound to the filter and the order; pages may differ in size."""
    return Cursors(route, tenant, {name: query[name] for name in query if name not in _PAGE}, place)


def _after(query: Mapping[str, str], cursors: Cursors) -> Any:
    text = query.get("cursor")
    return None if text is None else cursors.decode(text)


def _limit(query: Mapping[str, str]) -> int:
    return number_of(query, "limit", LIMIT_DEFAULT, LIMIT_MAX, least=1)


def _words(query: Mapping[str, str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(query.get("search", "").split()))
    if "search" in query and not 0 < len(words) <= WORDS_MAX:
        raise invalid_query(f"search has 1 to {WORDS_MAX} words")
    return words


def _sort(query: Mapping[str, str], orders: tuple[str, ...]) -> tuple[str, bool]:
    choices = [way + order for order in orders for way in ("", "-")]
    text = _one_of(query, "sort", tuple(choices)) or "-created_at"
    return text.removeprefix("-"), text.startswith("-")


def _asks_total(query: Mapping[str, str]) -> bool:
    return _TRUE[_one_of(query, "total", tuple(_TRUE)) or "false"]


def _one_of(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    text = query.get(name)
    if text is not None and text not in choices:
        raise invalid_query(f"{name} is one of {', '.join(choices)}")
    return text
