"""What comes from outside, made into values or refused with a code. Nothing here repeats what was sent."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar, overload
from urllib.parse import parse_qsl

import msgspec

from events.ids import parse_position
from events.times import in_utc
from services.api.call import Call
from services.api.errors import (
    ApiError,
    invalid_body,
    invalid_parameters,
    invalid_query,
    not_found,
    too_many_metadata_keys,
)
from services.api.ports import BlocklistFilter, CustomerFilter, Page
from services.api.shapes.customers import METADATA_KEYS_MAX

PAGE_SIZE_DEFAULT = 10
PAGE_SIZE_MAX = 100
PAGE_NUMBER_MAX = 2**31 - 1
DEPTH_MAX = 10_000
_PARAMETERS_MAX = 50
TEXT_MAX = 512
_KEY_MAX = 255

CUSTOMER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BLOCK_ID = re.compile(r"blk_[0-9A-Za-z]{21}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NUMBER = re.compile(r"[0-9]{1,16}")
_SENT_VALUE = re.compile(r"^Invalid enum value .* - at (?=`)", re.DOTALL)
"""Up to the last such words: the value may hold them too, and what is named after it is a place in the body."""
_FORMS = {
    r"^[A-Z]{3}\Z": "three capital letters, like USD",
    r"^[A-Za-z0-9_-]+\Z": "letters, digits, - and _",
    r"^[\x21-\x7e]+\Z": "visible ASCII characters without blanks",
    r"^[^\x00]*$": "text without NUL",
}
"""What the patterns of request bodies mean, for people."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?")

Body = TypeVar("Body", bound=msgspec.Struct)


async def body_of(
    call: Call, decoder: msgspec.json.Decoder[Body], *, required: bool = True, bytes_max: int = 0
) -> Body:
    """The body of a request; where it is not required, none is like an empty object.

    Raises:
        ApiError: not this shape; the message names the field and what is expected there. Or too much metadata.
    """
    raw = await call.json_body(required=required, bytes_max=bytes_max)
    try:
        body = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise invalid_body(_in_words(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_body("The body is not JSON in UTF-8, or nested too deep") from error
    metadata = getattr(body, "metadata", None)
    if isinstance(metadata, dict) and len(metadata) > METADATA_KEYS_MAX:
        raise too_many_metadata_keys(METADATA_KEYS_MAX)
    return body


def _in_words(message: str) -> str:
    """What msgspec says, without the value sent and without regular expressions."""
    for pattern, form in _FORMS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", form)
    return _SENT_VALUE.sub("Not one of the values allowed - at ", message)


def customer_id(text: str) -> str:
    """An id from a path: what cannot be one is not found."""
    if not CUSTOMER_ID.fullmatch(text):
        raise not_found()
    return text


def block_id(text: str) -> str:
    """An id of a blocklist entry from a path: what cannot be one is not found."""
    if not _BLOCK_ID.fullmatch(text):
        raise not_found()
    return text


def entry_id(text: str) -> str:
    """The same for an entry."""
    return customer_id(text)


def pairs_of(call: Call, known: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """The query's parameters as sent, those that are known; None: all of them."""
    try:
        pairs = parse_qsl(
            call.query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_PARAMETERS_MAX,
        )
    except ValueError as error:  # also UnicodeDecodeError
        raise invalid_query("The query is not percent-encoded UTF-8, or has too many parameters") from error
    found = [(name, value) for name, value in pairs if known is None or name in known]
    if any(not value or len(value) > TEXT_MAX or "\x00" in value for _, value in found):
        raise invalid_query(f"Parameters have 1 to {TEXT_MAX} characters, none of them NUL")
    return found


def query_of(call: Call, known: frozenset[str]) -> dict[str, str]:
    """The known query parameters; others are ignored, empty ones and ambiguous ones are errors."""
    if not call.query:
        return {}
    found: dict[str, str] = {}
    for name, value in pairs_of(call, known):
        if name in found:
            raise invalid_query(f"{name} may be given once")
        found[name] = value
    return found


def page_of(query: dict[str, str]) -> Page:
    """`page_number` counts from 0; `page_size` 0 asks for nothing."""
    number = number_of(query, "page_number", 0, PAGE_NUMBER_MAX)
    size = number_of(query, "page_size", PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    if (number + 1) * size > DEPTH_MAX:
        raise invalid_query(f"Pages end {DEPTH_MAX} rows deep: narrow the search")
    return Page(size, number * size)


def filter_of(query: dict[str, str]) -> CustomerFilter:
    return CustomerFilter(
        email=query.get("email"),
        name=query.get("name"),
        created_at_gte=moment_of(query, "created_at_gte"),
        created_at_lte=moment_of(query, "created_at_lte"),
    )


def blocklist_filter_of(query: dict[str, str]) -> BlocklistFilter:
    return BlocklistFilter(
        identifier=query.get("identifier"),
        created_at_gte=moment_of(query, "created_at_gte"),
        created_at_lte=moment_of(query, "created_at_lte"),
    )


def currency_of(query: Mapping[str, str]) -> str | None:
    """Any ISO code: a currency that is closed today may have entries from yesterday."""
    currency = query.get("currency")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        raise invalid_query("currency is an ISO 4217 code")
    return currency


def positions_of(call: Call, shards: int) -> dict[int, int]:
    """`Ledger-Position` of a read, sequence by shard: the answer must be at least as new as each of them."""
    text = call.header(b"ledger-position")
    if text is None:
        return {}
    parts = text.split(",")
    if len(parts) > shards:
        raise invalid_parameters("Ledger-Position has at most one position for each shard")
    positions: dict[int, int] = {}
    for shard, sequence in (_position(part.strip(), shards) for part in parts):
        positions[shard] = max(sequence, positions.get(shard, 0))
    return positions


def _position(text: str, shards: int) -> tuple[int, int]:
    try:
        shard, sequence = parse_position(text)
    except ValueError as error:
        raise invalid_parameters("Ledger-Position is <shard>:<sequence>, or several with commas") from error
    if shard >= shards or sequence >= 2**63:
        raise invalid_parameters("Ledger-Position names no shard of this ledger")
    return shard, sequence


def key_of(call: Call, in_body: str | None = None) -> str | None:
    """The idempotency key, from the header or the body.

    Raises:
        ApiError: both and different, or not a key.
    """
    key = call.header(b"idempotency-key")
    call.keyed |= in_body is not None
    if key is None:
        return in_body
    if not 0 < len(key) <= _KEY_MAX or "\x00" in key:
        raise invalid_parameters(f"Idempotency-Key has 1 to {_KEY_MAX} characters")
    if in_body is not None and in_body != key:
        raise invalid_parameters("Idempotency-Key and idempotency_key differ")
    return key


def wants_no_wait(call: Call) -> bool:
    """`Prefer: respond-async` (RFC 7240)."""
    prefer = call.headers.get(b"prefer")
    if prefer is None:
        return False
    return any(part.strip().lower() == b"respond-async" for part in prefer.split(b","))


def attempt_of(call: Call) -> int:
    """How often the SDK has sent this request before; 0 for anything else."""
    text = call.headers.get(b"x-stainless-retry-count", b"")
    return int(text) if text.isdigit() and len(text) <= 2 else 0


@overload
def number_of(query: Mapping[str, str], name: str, default: int, largest: int, least: int = 0) -> int: ...
@overload
def number_of(
    query: Mapping[str, str], name: str, default: None, largest: int, least: int = 0
) -> int | None: ...
def number_of(
    query: Mapping[str, str], name: str, default: int | None, largest: int, least: int = 0
) -> int | None:
    """A parameter that is a whole number."""
    text = query.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= largest:
        raise invalid_query(f"{name} is a whole number from {least} to {largest}")
    return int(text)


def moment_of(query: Mapping[str, str], name: str) -> datetime | None:
    """A parameter that is a time, cut to microseconds; UTC where it does not say."""
    if name not in query:
        return None
    text = query[name].upper()  # t and z are as good
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError(name)
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise _not_a_moment(name) from error


def _not_a_moment(name: str) -> ApiError:
    return invalid_query(f"{name} is a time in ISO 8601, for example 2026-01-02T03:04:05Z")
