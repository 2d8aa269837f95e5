"""`/v1/ledger-entries/bulk`: up to a thousand entries of any customers at once."""

import msgspec
from litestar import post
from litestar.types import Scope

from services.api.answers import Answer, json
from services.api.bulk import enter, split
from services.api.parsing.values import body_of
from services.api.parts import writing
from services.api.shapes.bulk import BulkOutcomes, CreateLedgerEntries

_body = msgspec.json.Decoder(CreateLedgerEntries)


@post("/v1/ledger-entries/bulk", status_code=200)
async def create(scope: Scope) -> Answer:
    """200 says that the outcomes are in the items; 503 and 504 that there are none."""
    visit = await writing(scope)
    settings = visit.parts.settings
    body = await body_of(visit.call, _body, bytes_max=settings.bulk_body_bytes_max)
    records = split(body.items, body.all_or_nothing, settings.shards)
    entered = await enter(visit.parts.asking, visit.call, visit.caller, records, len(body.items))
    _, headers = await visit.parts.asking.shown(visit.call, entered.positions)
    statuses = [outcome.status for outcome in entered.outcomes]
    applied, not_applied = statuses.count(200), statuses.count(503)
    unknown = statuses.count(504) + statuses.count(500)
    outcomes = BulkOutcomes(
        items=entered.outcomes,
        applied=applied,
        refused=len(statuses) - applied - unknown - not_applied,
        not_applied=not_applied,
        unknown=unknown,
    )
    return json(outcomes, headers)


ROUTES = (create,)
