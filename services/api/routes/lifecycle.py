"""`/v1/customers/{customer_id}/block`, `/unblock`, `/close` and `/erase`."""

from datetime import datetime

import msgspec
from litestar import post
from litestar.types import Scope

from events.commands import BlockCustomer, CloseCustomer, EraseCustomer, UnblockCustomer
from services.api.answers import Answer, json
from services.api.asking import Written
from services.api.parsing.values import body_of, customer_id, key_of
from services.api.parts import erasing, writing
from services.api.shapes.customers import ChangeStatus, CustomerStatus, or_unset

_body = msgspec.json.Decoder(ChangeStatus)


@post("/v1/customers/{customer_id:str}/block", status_code=200)
async def block(scope: Scope) -> Answer:
    """Who is blocked already stays so, since then and under the same entry."""
    written = await _changed(scope, BlockCustomer)
    status = CustomerStatus(
        customer_id=written.customer_id,
        status="blocked",
        blocked_at=datetime.fromisoformat(written.reply.blocked),
        blocklist_entry_id=written.reply.block_id,
    )
    return json(status, written.headers)


@post("/v1/customers/{customer_id:str}/unblock", status_code=200)
async def unblock(scope: Scope) -> Answer:
    """Whether he was blocked or not."""
    written = await _changed(scope, UnblockCustomer)
    return json(CustomerStatus(customer_id=written.customer_id, status="active"), written.headers)


@post("/v1/customers/{customer_id:str}/close", status_code=200)
async def close(scope: Scope) -> Answer:
    """For good."""
    written = await _changed(scope, CloseCustomer)
    closed_at = datetime.fromisoformat(written.reply.time)
    status = CustomerStatus(customer_id=written.customer_id, status="closed", closed_at=closed_at)
    return json(status, written.headers)


@post("/v1/customers/{customer_id:str}/erase", status_code=200)
async def erase(scope: Scope) -> Answer:
    """A body is not read: nothing that it could say may be kept."""
    visit = await erasing(scope)
    identifier = customer_id(visit.path["customer_id"])
    asking = visit.parts.asking
    written = await asking.write(visit.call, visit.caller, identifier, EraseCustomer(), key_of(visit.call))
    erased_at = datetime.fromisoformat(written.reply.time)
    status = CustomerStatus(customer_id=written.customer_id, status="closed", erased_at=erased_at)
    return json(status, written.headers)


ROUTES = (block, unblock, close, erase)


async def _changed(scope: Scope, ask: type[BlockCustomer | UnblockCustomer | CloseCustomer]) -> Written:
    """The answer is made of the ledger's reply alone."""
    visit = await writing(scope)
    identifier = customer_id(visit.path["customer_id"])
    body = await body_of(visit.call, _body, required=False)
    asked = ask(reason=or_unset(body.reason))
    return await visit.parts.asking.write(visit.call, visit.caller, identifier, asked, key_of(visit.call))
