"""Which licence keys has a customer, and where is each activated?"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec import Struct, UnsetType

from events.foreign import ForeignId
from events.recorded import LicenceKeyRecorded
from events.times import in_utc
from services.projections.read_models.event import Event
from services.projections.read_models.newest import Newest, common, folded, upsert
from services.projections.read_models.statement import Statement, statement

SOURCE = "auto"
"""Of one that does not say."""

INSTANCES_MAX = 1_000


class LicenceKey(Newest, kw_only=True):
    """A row."""

    licence_key_id: str
    status: str
    source: str
    product_id: str | UnsetType


class Instance(Struct, kw_only=True):
    """A row: one activation, as the object lists it."""

    business_id: str
    mode: str
    customer_id: str
    shard: int
    licence_key_id: str
    instance_id: str
    created_at: str
    name: str


class Owner(Struct, kw_only=True):
    """A key whose instances were told anew."""

    business_id: str
    mode: str
    customer_id: str
    licence_key_id: str


UPSERT = upsert("licence_keys", "licence_key_id", {"status": "text", "source": "text", "product_id": "text"})
FORGET = """
    DELETE FROM licence_key_instances AS old
    USING json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, licence_key_id text)
    WHERE old.business_id = new.business_id AND old.mode = new.mode AND old.customer_id = new.customer_id
        AND old.licence_key_id = new.licence_key_id
"""
INSERT = """
    INSERT INTO licence_key_instances (
        business_id, mode, customer_id, shard, licence_key_id, instance_id, created_at, name)
    SELECT business_id, mode, customer_id, shard, licence_key_id, instance_id, created_at, name
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, shard int, licence_key_id text, instance_id text,
        created_at timestamptz, name text)
"""


class _Listed(Struct):
    """An instance within the object of its key."""

    id: ForeignId
    name: str = ""
    created_at: datetime | None = None


class _Listing(Struct):
    instances: list[object] | None = None


_listings = msgspec.json.Decoder(_Listing)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """Who tells of a key's instances tells of all of them: those known before are forgotten."""
    told = list(rows(events))
    if not told:
        return
    yield statement(UPSERT, folded((row.licence_key_id, row) for row in told))
    listed = [(key, listing) for key in told if (listing := _listed(key)) is not None]
    last = {
        (key.business_id, key.mode, key.licence_key_id, key.customer_id): (key, listing)
        for key, listing in listed
    }
    if last:
        yield statement(FORGET, [_owner(key) for key, _ in last.values()])
    if instances := [one for key, listing in last.values() for one in _instances(key, listing)]:
        yield statement(INSERT, instances)


def rows(events: Sequence[Event]) -> Iterator[LicenceKey]:
    for event in events:
        fact = event.fact
        if isinstance(fact, LicenceKeyRecorded):
            licence = fact.licence_key
            yield LicenceKey(
                licence_key_id=licence.licence_key_id,
                status=licence.status,
                source=licence.source or SOURCE,
                product_id=licence.product_id,
                known=licence,
                **common(event, fact, licence.created_at),
            )


def _listed(key: LicenceKey) -> list[object] | None:
    """What its object lists; None: it says nothing of instances."""
    try:
        return _listings.decode(key.object).instances
    except msgspec.ValidationError:
        return None


def _instances(key: LicenceKey, listing: list[object]) -> Iterator[Instance]:
    """Permissive: what has no id is none."""
    found: dict[str, Instance] = {}
    for item in listing[:INSTANCES_MAX]:
        with suppress(msgspec.ValidationError):
            one = msgspec.convert(item, _Listed)
            found[one.id] = Instance(
                business_id=key.business_id,
                mode=key.mode,
                customer_id=key.customer_id,
                shard=key.shard,
                licence_key_id=key.licence_key_id,
                instance_id=one.id,
                created_at=_utc(one.created_at, key.created_at),
                name=one.name.replace("\x00", ""),
            )
    yield from found.values()


def _owner(key: LicenceKey) -> Owner:
    return Owner(
        business_id=key.business_id,
        mode=key.mode,
        customer_id=key.customer_id,
        licence_key_id=key.licence_key_id,
    )


def _utc(moment: datetime | None, otherwise: str) -> str:
    """A time at the end of the calendar has no UTC."""
    try:
        if moment is not None:
            return in_utc(moment).isoformat()
    except OverflowError:
        pass
    return otherwise
