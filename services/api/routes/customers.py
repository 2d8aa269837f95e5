"""`/customers`: create, retrieve, update, list."""

from datetime import datetime

import msgspec
from litestar import get, patch, post
from litestar.types import Scope
from msgspec import UNSET

from events.commands import ChangeProfile, RegisterCustomer
from events.ids import Tenant
from services.api.answers import Answer, json
from services.api.asking import Written, unless_away
from services.api.errors import not_found
from services.api.parsing.values import body_of, customer_id, filter_of, key_of, page_of, query_of
from services.api.parts import as_of, reading, writing
from services.api.ports import CustomerRow
from services.api.shapes.customers import CreateCustomer, Customer, CustomerPage, UpdateCustomer, or_unset

_create_body = msgspec.json.Decoder(CreateCustomer)
_update_body = msgspec.json.Decoder(UpdateCustomer)
_LIST = frozenset({"page_number", "page_size", "email", "name", "created_at_gte", "created_at_lte"})


@post("/customers", status_code=200)
async def create(scope: Scope) -> Answer:
    """The answer is made of the request and the ledger's reply: replies hold no personal data."""
    visit = await writing(scope)
    body = await body_of(visit.call, _create_body)
    ask = RegisterCustomer(
        name=body.name,
        email=body.email,
        phone_number=or_unset(body.phone_number),
        metadata=body.metadata or UNSET,
        preferred_locale=body.preferred_locale or UNSET,
    )
    written = await visit.parts.asking.write(visit.call, visit.caller, None, ask, key_of(visit.call))
    row = CustomerRow(
        customer_id=written.customer_id,
        name=body.name,
        email=body.email,
        phone_number=body.phone_number,
        metadata=body.metadata or {},
        preferred_locale=body.preferred_locale,
        created_at=datetime.fromisoformat(written.reply.registered or written.reply.time),
    )
    return json(_shown(visit.caller.tenant, row), written.headers)


@get("/customers/{customer_id:str}")
async def retrieve(scope: Scope) -> Answer:
    visit = await reading(scope)
    identifier = customer_id(visit.path["customer_id"])
    sequence, row = await visit.parts.queries.customer(visit.caller.tenant, identifier)
    headers = as_of(visit, identifier, sequence)
    if row is None:
        raise not_found(headers=headers)
    return json(_shown(visit.caller.tenant, row), headers)


@patch("/customers/{customer_id:str}")
async def update(scope: Scope) -> Answer:
    """The read model, with the change laid over it where it is not there yet."""
    visit = await writing(scope)
    identifier = customer_id(visit.path["customer_id"])
    body = await body_of(visit.call, _update_body)
    ask = _change(body)
    written = await visit.parts.asking.write(visit.call, visit.caller, identifier, ask, key_of(visit.call))
    found = await unless_away(visit.parts.queries.customer(visit.caller.tenant, identifier))
    row = None if found is None else found[1]
    headers = written.headers if row is not None else written.unshown
    if row is None or not written.visible or written.reply.replayed:
        row = _merged(row, ask, written)
    return json(_shown(visit.caller.tenant, row), headers)


@get("/customers")
async def list_customers(scope: Scope) -> Answer:
    """Newest first. Over all shards, so there is no one position that it is as of."""
    visit = await reading(scope)
    query = query_of(visit.call, _LIST)
    page, where = page_of(query), filter_of(query)
    rows = await visit.parts.queries.customers(visit.caller.tenant, page, where) if page.limit else []
    return json(CustomerPage(items=[_shown(visit.caller.tenant, row) for row in rows]))


ROUTES = (create, retrieve, update, list_customers)


def _change(body: UpdateCustomer) -> ChangeProfile:
    """Null clears locale and phone number and empties metadata; a name and an email cannot be cleared."""
    return ChangeProfile(
        name=or_unset(body.name),
        email=or_unset(body.email),
        phone_number=body.phone_number,
        metadata={} if body.metadata is None else body.metadata,
        preferred_locale=body.preferred_locale,
    )


def _merged(row: CustomerRow | None, ask: ChangeProfile, written: Written) -> CustomerRow:
    """What the change made of the customer; a customer who was not found shows only what was sent."""
    if row is None:
        registered = datetime.fromisoformat(written.reply.registered or written.reply.time)
        row = CustomerRow(written.customer_id, "", "", None, {}, None, registered)
    return row._replace(
        name=row.name if ask.name is UNSET else ask.name,
        email=row.email if ask.email is UNSET else ask.email,
        phone_number=row.phone_number if ask.phone_number is UNSET else ask.phone_number,
        metadata=row.metadata if ask.metadata is UNSET else ask.metadata,
        preferred_locale=row.preferred_locale if ask.preferred_locale is UNSET else ask.preferred_locale,
    )


def _shown(tenant: Tenant, row: CustomerRow) -> Customer:
    return Customer(
        business_id=tenant.business_id,
        created_at=row.created_at,
        customer_id=row.customer_id,
        email=row.email,
        name=row.name,
        blocked_at=row.blocked_at,
        blocklist_entry_id=row.blocklist_entry_id,
        metadata=row.metadata,
        phone_number=row.phone_number,
        preferred_locale=row.preferred_locale,
    )
