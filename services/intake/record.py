"""A record of `payments.events` as JSON that may be kept and handed on, or the reason why not. Pure."""

from typing import Any

import msgspec

from services.nesting import NESTED_MAX, is_deep, may_be_deep

OBJECT_BYTES_MAX = 128 * 1024


class NotUnderstood(ValueError):
    """Names no value of the record: it goes into logs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def object_of(value: bytes) -> dict[str, Any]:
    """Raises NotUnderstood."""
    if len(value) > OBJECT_BYTES_MAX:
        raise NotUnderstood("TOO_LARGE", f"a record has at most {OBJECT_BYTES_MAX} bytes")
    try:
        whole = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotUnderstood("NOT_JSON", "the record is not JSON") from error
    if not isinstance(whole, dict):
        raise NotUnderstood("NOT_AN_EVENT", "the record is no JSON object")
    if may_be_deep(value) and is_deep(whole):
        raise NotUnderstood("TOO_LARGE", f"objects and lists lie in each other at most {NESTED_MAX} deep")
    return _without_nul(whole) if b"\\u0000" in value else whole


def _without_nul(value: Any) -> Any:
    """PostgreSQL has no such character."""
    match value:
        case str():
            return value.replace("\x00", "")
        case dict():
            return {_without_nul(name): _without_nul(one) for name, one in value.items()}
        case list():
            return [_without_nul(one) for one in value]
        case _:
            return value
