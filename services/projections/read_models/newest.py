"""Rows of which the newest that upstream said counts: what they have in common, and the one statement that writes them."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, LiteralString, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from events.foreign import Dispute, LicenceKey, Payment, Refund, Subscription
from events.recorded import Recorded
from services.nesting import NESTED_MAX, may_be_deep
from services.projections.read_models.event import Event

NOTHING = Raw(b"{}")
"""What stands for an object whose key is gone."""

_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[{}\[\]]")
_encode = msgspec.json.Encoder().encode
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""A character that PostgreSQL does not store; not a backslash that stands before `u0000`."""


class Newest(Struct, kw_only=True):
    """`known`: what is stored in clear; `object`: as it came. What is told of two customers has a row for each."""

    business_id: str
    mode: str
    customer_id: str
    shard: int
    stamp: str
    created_at: str
    updated_at: str
    known: Payment | Refund | Dispute | Subscription | LicenceKey
    object: Raw


R = TypeVar("R", bound=Newest)

COLUMNS: Mapping[LiteralString, LiteralString] = {
    "business_id": "text",
    "mode": "text",
    "customer_id": "text",
    "shard": "int",
    "stamp": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "known": "jsonb",
    "object": "jsonb",
}


def upsert(
    table: LiteralString, key: LiteralString, own: Mapping[LiteralString, LiteralString]
) -> LiteralString:
    """Only over what is older. Recorded facts come newest last, but those of a payment with too many parts."""
    types = {key: "text", **own, **COLUMNS}
    names = ", ".join(types)
    return f"""
        INSERT INTO {table} AS old ({names})
        SELECT {names} FROM json_to_recordset(%s::json) AS new ({", ".join(f"{n} {t}" for n, t in types.items())})
        ON CONFLICT (business_id, mode, {key}, customer_id) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in types)}
        WHERE excluded.stamp >= old.stamp
    """


def common(event: Event, fact: Recorded, created_at: str | UnsetType) -> dict[str, Any]:
    """What all rows have; without a time of its own an object is as old as what was said of it."""
    envelope = event.envelope
    told_at = moment(fact.told.time) or envelope.time
    return {
        "business_id": envelope.businessid,
        "mode": envelope.mode,
        "customer_id": envelope.subject,
        "shard": event.shard,
        "stamp": fact.stamp,
        "created_at": moment(created_at) or told_at,
        "updated_at": told_at,
        "object": as_it_came(fact),
    }


def asked(event: Event) -> dict[str, Any]:
    """The same for what is ours: it has no stamp, so any news of upstream is newer."""
    envelope = event.envelope
    personal = event.fact.personal
    return {
        "business_id": envelope.businessid,
        "mode": envelope.mode,
        "customer_id": envelope.subject,
        "shard": event.shard,
        "stamp": "",
        "created_at": envelope.time,
        "updated_at": envelope.time,
        "object": NOTHING if personal is UNSET else Raw(_encode(personal)),
    }


def moment(text: str | UnsetType) -> str | UnsetType:
    """What has the form of a time and is none (the 31st of February) says nothing: PostgreSQL would not store it."""
    try:
        if text is not UNSET:
            datetime.fromisoformat(text)
    except ValueError:
        return UNSET
    return text


def as_it_came(fact: Recorded) -> Raw:
    """Empty where the customer's key is gone, or where it is nested so deep that readers would give up."""
    if fact.personal is UNSET or fact.personal.foreign is UNSET:
        return NOTHING
    came = _encode(fact.personal.foreign)
    # looked for first: the pattern takes longer than all else that is done with an event
    if b"\\u0000" in came:
        came = _NUL.sub(rb"\1", came)
    if may_be_deep(came) and nested(came) > NESTED_MAX:
        return NOTHING
    return Raw(came)


def nested(came: bytes) -> int:
    """How deep."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_TEXTS.sub(b"", came)):
        depth += 1 if bracket in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


def folded(rows: Iterable[tuple[str, R]]) -> list[R]:
    """One row for each id and customer: the newest."""
    newest: dict[tuple[str, str, str, str], R] = {}
    for name, row in rows:
        key = (row.business_id, row.mode, name, row.customer_id)
        known = newest.get(key)
        if known is None or row.stamp >= known.stamp:
            newest[key] = row
    return list(newest.values())
