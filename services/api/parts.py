"""What handlers work with, put together once by the composition root; and how a request gets to it."""

from typing import NamedTuple, cast

from litestar.types import Scope as AsgiScope

from events.ids import position
from events.sharding import shard_of
from services.api.asking import Asking
from services.api.auth import Authenticator, Caller
from services.api.call import Call
from services.api.errors import not_yet_visible
from services.api.health import Readiness
from services.api.keys import Scope
from services.api.parsing import position_of
from services.api.ports import Blocklist, Queries, Visibility
from services.api.rates import UsdRates
from services.settings import Settings


class Parts(NamedTuple):
    """One per process."""

    settings: Settings
    auth: Authenticator
    asking: Asking
    queries: Queries
    blocklist: Blocklist
    visibility: Visibility
    rates: UsdRates
    readiness: Readiness


class Visit(NamedTuple):
    """An authenticated request."""

    call: Call
    caller: Caller
    parts: Parts
    path: dict[str, str]
    """Path parameters as sent."""


def parts_of(scope: AsgiScope) -> Parts:
    return cast(Parts, scope["litestar_app"].state["parts"])


def as_of(visit: Visit, customer_id: str, sequence: int) -> dict[str, str]:
    """The header of an answer about one customer: how new it is."""
    return {"ledger-position": position(shard_of(customer_id, visit.parts.settings.shards), sequence)}


async def reading(scope: AsgiScope) -> Visit:
    """A request that reads: its key may, and the read models are as new as it demands.

    Raises:
        ApiError: 401, or 503 NOT_YET_VISIBLE.
    """
    visit = await _visit(scope, Scope.READ)
    settings = visit.parts.settings
    position = position_of(visit.call, settings.shards)
    if position is not None and not await visit.parts.visibility.wait(*position, settings.read_wait_seconds):
        raise not_yet_visible()
    return visit


async def writing(scope: AsgiScope) -> Visit:
    """A request that writes. Raises ApiError 401."""
    return await _visit(scope, Scope.WRITE)


async def _visit(scope: AsgiScope, needed: Scope) -> Visit:
    parts = parts_of(scope)
    call: Call = scope["state"]["call"]
    caller = await parts.auth.caller(call.headers.get(b"authorization"), needed)
    return Visit(call, caller, parts, scope["path_params"])
