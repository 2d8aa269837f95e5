"""`/blocklist/customers`: block, list, retrieve, unblock."""

from datetime import datetime

import msgspec
from litestar import delete, get, post
from litestar.types import Scope
from msgspec.structs import replace

from events.commands import BlockCustomer, UnblockCustomer
from events.foreign import SUBSCRIPTION_OVER
from services.api.answers import Answer, json, nothing
from services.api.asking import Written, unless_away
from services.api.errors import invalid_parameters, not_found
from services.api.foreign_ports import SUBSCRIPTIONS
from services.api.parsing.values import (
    block_id,
    blocklist_filter_of,
    body_of,
    key_of,
    page_of,
    positions_of,
    query_of,
)
from services.api.parts import Visit, as_of, check_as_of, new_enough, reading, writing, writing_to_found
from services.api.ports import BlocklistRow, Page
from services.api.shapes import customers as shapes
from services.api.shapes.customers import BlockedCustomer, BlocklistPage, or_unset

_body = msgspec.json.Decoder(shapes.BlockCustomer)
LIVING_SHOWN_MAX = 100
_LIST = frozenset(
    {"page_number", "page_size", "blocked_by_email", "identifier", "created_at_gte", "created_at_lte"}
)


@post("/blocklist/customers", status_code=200)
async def create(scope: Scope) -> Answer:
    """Who is blocked already keeps his entry; a reason given now replaces the one it had."""
    visit = await writing(scope)
    body = await body_of(visit.call, _body)
    key = key_of(visit.call)
    customer = await _meant(visit, body, key)
    ask = BlockCustomer(
        reason=or_unset(body.reason),
        identifier=or_unset(body.email),
    )
    written = await visit.parts.asking.write(visit.call, visit.caller, customer, ask, key)
    row = await unless_away(visit.parts.blocklist.entry(visit.caller.tenant, written.reply.block_id))
    entry = _shown(row) if row is not None else await _told(visit, body, written)
    if body.reason is not None and not written.reply.replayed:
        entry = replace(entry, reason=body.reason)
    # Read models that do not show the block may not know of a subscription either.
    shown = written.visible and row is not None
    living = await unless_away(_living(visit, customer)) if shown else None
    told = replace(
        entry,
        cancelled_subscription_ids=[],
        remaining_subscription_ids=living,
        subscriptions_swept=None if living is None else not living,
    )
    return json(told, written.headers if row is not None else written.unshown)


@get("/blocklist/customers")
async def list_entries(scope: Scope) -> Answer:
    """Who is blocked now. Over all shards, so there is no one position that it is as of."""
    visit = await reading(scope)
    query = query_of(visit.call, _LIST)
    page, where = page_of(query), blocklist_filter_of(query)
    nobody = not page.limit or "blocked_by_email" in query  # no entry was made from a dashboard
    rows = [] if nobody else await visit.parts.blocklist.entries(visit.caller.tenant, page, where)
    return json(BlocklistPage(items=[_shown(row) for row in rows]))


@get("/blocklist/customers/{entry_id:str}")
async def retrieve(scope: Scope) -> Answer:
    """Also an entry that was ended: `unblocked_at` says when."""
    visit = await reading(scope)
    row = await _found(visit)
    return json(replace(_shown(row), notes=[]), as_of(visit, row.customer_id, row.sequence))


@delete("/blocklist/customers/{entry_id:str}", status_code=200)  # the answer itself says 204
async def remove(scope: Scope) -> Answer:
    """Ends this block, and no newer one of the same customer; ending it again changes nothing."""
    visit = await writing_to_found(scope)
    row = await _found(visit)
    check_as_of(visit, row.customer_id, row.sequence)
    ask = UnblockCustomer(block_id=row.block_id)
    written = await visit.parts.asking.write(
        visit.call, visit.caller, row.customer_id, ask, key_of(visit.call)
    )
    return nothing(written.headers)


ROUTES = (create, list_entries, retrieve, remove)


async def _meant(visit: Visit, body: shapes.BlockCustomer, key: str | None) -> str:
    """The customer of a body that names him by id or by address."""
    if body.customer_id is not None and body.email is None:
        positions_of(visit.call, visit.parts.settings.shards)  # nothing is looked up, yet it must be one
        return body.customer_id
    if body.email is None or body.customer_id is not None:
        raise invalid_parameters("Name the customer by customer_id or by email: exactly one of them")
    if key is not None:
        raise invalid_parameters(
            "With an Idempotency-Key name the customer by customer_id: an address may change hands"
        )
    visit = await new_enough(visit)
    found = await visit.parts.blocklist.addressed(visit.caller.tenant, body.email)
    if not found:
        raise not_found()
    if len(found) > 1:
        raise invalid_parameters("Several customers have this address: block them by customer_id")
    return found[0]


async def _living(visit: Visit, customer_id: str) -> list[str]:
    """A block cancels no subscription; these are not over, the newest."""
    page = Page(limit=LIVING_SHOWN_MAX, offset=0)
    where = {"customer_id": customer_id, "status_not": sorted(SUBSCRIPTION_OVER)}
    told = await visit.parts.foreign.page(visit.caller.tenant, SUBSCRIPTIONS, page, where)
    return [one.known["subscription_id"] for one in told]


async def _found(visit: Visit) -> BlocklistRow:
    row = await visit.parts.blocklist.entry(visit.caller.tenant, block_id(visit.path["entry_id"]))
    if row is None:
        raise not_found()
    return row


async def _told(visit: Visit, body: shapes.BlockCustomer, written: Written) -> BlockedCustomer:
    """An entry that the read models do not have yet: from the request and the ledger's reply."""
    found = await unless_away(visit.parts.queries.customer(visit.caller.tenant, written.customer_id))
    customer = None if found is None else found[1]
    return BlockedCustomer(
        id=written.reply.block_id,
        created_at=datetime.fromisoformat(written.reply.blocked),
        customer_email=customer.email if customer else body.email or "",
        customer_id=written.customer_id,
        customer_name=customer.name if customer else "",
        identifier=body.email or written.customer_id,
        reason=body.reason,
    )


def _shown(row: BlocklistRow) -> BlockedCustomer:
    return BlockedCustomer(
        id=row.block_id,
        created_at=row.created_at,
        customer_email=row.email,
        customer_id=row.customer_id,
        customer_name=row.name,
        identifier=row.identifier,
        reason=row.reason,
        unblocked_at=row.unblocked_at,
    )
