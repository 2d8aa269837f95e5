"""Which customers are there, and what is known of each?"""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType, structs

from events.facts import (
    CustomerBlocked,
    CustomerClosed,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
)
from events.personal import Metadata, Personal
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement, statement

ERASED = Personal(name="", email="", phone_number=None, metadata={})
"""What stands for personal data whose key was destroyed."""


class Customer(Struct, kw_only=True):
    """A row, or, with `registered` false, a change of one: UNSET says nothing, None clears."""

    business_id: str
    mode: str
    customer_id: str
    shard: int
    registered: bool
    updated_at: str
    created_at: str
    name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    phone_number: str | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    preferred_locale: str | UnsetType | None = UNSET
    blocked_at: str | UnsetType | None = UNSET
    blocklist_entry_id: str | UnsetType | None = UNSET
    closed_at: str | UnsetType = UNSET
    erased_at: str | UnsetType = UNSET


class Change(Struct, kw_only=True):
    """A changed customer as SQL reads it: what may be cleared says so beside its value."""

    business_id: str
    mode: str
    customer_id: str
    updated_at: str
    name: str | UnsetType
    email: str | UnsetType
    metadata: Metadata | UnsetType
    phone_number: str | UnsetType | None
    says_phone_number: bool
    preferred_locale: str | UnsetType | None
    says_preferred_locale: bool
    blocked_at: str | UnsetType | None
    blocklist_entry_id: str | UnsetType | None
    says_blocked: bool
    closed_at: str | UnsetType
    erased_at: str | UnsetType


Profile = CustomerRegistered | CustomerProfileChanged
Told = Profile | CustomerBlocked | CustomerUnblocked | CustomerClosed | CustomerErased

INSERT = """
    INSERT INTO customers (business_id, mode, customer_id, shard, name, email, phone_number, metadata,
                           preferred_locale, created_at, updated_at, blocked_at, blocklist_entry_id, closed_at,
                           erased_at)
    SELECT business_id, mode, customer_id, shard, name, email, phone_number, coalesce(metadata, '{}'),
           preferred_locale, created_at, updated_at, blocked_at, blocklist_entry_id, closed_at, erased_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, shard int, name text, email text, phone_number text,
        metadata jsonb, preferred_locale text, created_at timestamptz, updated_at timestamptz,
        blocked_at timestamptz, blocklist_entry_id text, closed_at timestamptz, erased_at timestamptz)
"""

UPDATE = """
    UPDATE customers AS old SET
        name = coalesce(new.name, old.name),
        email = coalesce(new.email, old.email),
        metadata = coalesce(new.metadata, old.metadata),
        phone_number = CASE WHEN new.says_phone_number THEN new.phone_number ELSE old.phone_number END,
        preferred_locale =
            CASE WHEN new.says_preferred_locale THEN new.preferred_locale ELSE old.preferred_locale END,
        blocked_at = CASE WHEN new.says_blocked THEN new.blocked_at ELSE old.blocked_at END,
        blocklist_entry_id =
            CASE WHEN new.says_blocked THEN new.blocklist_entry_id ELSE old.blocklist_entry_id END,
        closed_at = coalesce(new.closed_at, old.closed_at),
        erased_at = coalesce(new.erased_at, old.erased_at),
        updated_at = new.updated_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, updated_at timestamptz, name text, email text,
        metadata jsonb, phone_number text, says_phone_number boolean, preferred_locale text,
        says_preferred_locale boolean, blocked_at timestamptz, blocklist_entry_id text, says_blocked boolean,
        closed_at timestamptz, erased_at timestamptz)
    WHERE old.business_id = new.business_id AND old.mode = new.mode AND old.customer_id = new.customer_id
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """At most one insert and one update, whatever the batch holds."""
    folded = fold(events)
    if new := [customer for customer in folded if customer.registered]:
        yield statement(INSERT, new)
    if changed := [_change(customer) for customer in folded if not customer.registered]:
        yield statement(UPDATE, changed)


def fold(events: Sequence[Event]) -> list[Customer]:
    """One row or change per customer: later events overwrite what they speak of."""
    customers: dict[tuple[str, str, str], Customer] = {}
    for event in events:
        fact = event.fact
        if not isinstance(fact, Told):
            continue
        envelope = event.envelope
        key = (envelope.businessid, envelope.mode, envelope.subject)
        known = customers.get(key) or Customer(
            business_id=envelope.businessid,
            mode=envelope.mode,
            customer_id=envelope.subject,
            shard=event.shard,
            registered=isinstance(fact, CustomerRegistered),
            created_at=envelope.time,
            updated_at=envelope.time,
        )
        customers[key] = _overwritten(known, fact, envelope.time)
    return list(customers.values())


def _overwritten(known: Customer, fact: Told, time: str) -> Customer:
    said: dict[str, object] = {}
    match fact:
        case CustomerBlocked():
            since = time if fact.since is UNSET else fact.since
            said = {"blocked_at": since, "blocklist_entry_id": fact.block_id}
        case CustomerUnblocked():
            if fact.block_id is not UNSET:
                said = {"blocked_at": None, "blocklist_entry_id": None}
        case CustomerClosed():
            said = {"closed_at": time}
        case CustomerErased():
            said = {"erased_at": time, **_told(ERASED)}
        case _:
            said = _profile(fact)
    return structs.replace(known, updated_at=time, **said)


def _profile(fact: Profile) -> dict[str, object]:
    locale = {} if fact.preferred_locale is UNSET else {"preferred_locale": fact.preferred_locale}
    return _told(_personal(fact)) | locale


def _told(personal: Personal) -> dict[str, object]:
    fields = ("name", "email", "phone_number", "metadata")
    return {field: value for field in fields if (value := getattr(personal, field)) is not UNSET}


def _personal(fact: Profile) -> Personal:
    if fact.sealed is not UNSET:
        return ERASED
    return Personal() if fact.personal is UNSET else fact.personal


def _change(customer: Customer) -> Change:
    return Change(
        business_id=customer.business_id,
        mode=customer.mode,
        customer_id=customer.customer_id,
        updated_at=customer.updated_at,
        name=customer.name,
        email=customer.email,
        metadata=customer.metadata,
        phone_number=customer.phone_number,
        says_phone_number=customer.phone_number is not UNSET,
        preferred_locale=customer.preferred_locale,
        says_preferred_locale=customer.preferred_locale is not UNSET,
        blocked_at=customer.blocked_at,
        blocklist_entry_id=customer.blocklist_entry_id,
        says_blocked=customer.blocked_at is not UNSET,
        closed_at=customer.closed_at,
        erased_at=customer.erased_at,
    )
