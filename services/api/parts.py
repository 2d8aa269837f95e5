"""What handlers work with, put together once by the composition root; and how a request gets to it."""

import asyncio
from typing import NamedTuple, cast
from urllib.parse import unquote

from litestar.types import Scope as AsgiScope

from events.facts import Refusal
from events.ids import position
from events.sharding import shard_of
from services.api.asking import Asking
from services.api.auth import Authenticator, Caller
from services.api.call import Call
from services.api.errors import not_yet_visible, refused
from services.api.foreign_ports import Foreign
from services.api.health import Readiness
from services.api.keys import Scope
from services.api.lookups import Exports, Lookups
from services.api.parsing.values import positions_of
from services.api.ports import Blocklist, Queries, Visibility
from services.api.rates import UsdRates
from services.api.webhooks.door import Door
from services.settings import Settings

SHARDS_SHOWN_MAX = 256
"""Proxies take headers of some kilobytes only."""


class Parts(NamedTuple):
    """One per process."""

    settings: Settings
    auth: Authenticator
    asking: Asking
    queries: Queries
    blocklist: Blocklist
    lookups: Lookups
    exports: Exports
    foreign: Foreign
    visibility: Visibility
    rates: UsdRates
    readiness: Readiness
    door: Door


class Visit(NamedTuple):
    """An authenticated request."""

    call: Call
    caller: Caller
    parts: Parts
    path: dict[str, str]
    """Path parameters, decoded."""
    at_least: dict[int, int]
    """Sequence by shard that the answer has to include."""


def parts_of(scope: AsgiScope) -> Parts:
    return cast(Parts, scope["litestar_app"].state["parts"])


def path_of(scope: AsgiScope) -> dict[str, str]:
    """Paths are routed as sent, see `Edge`."""
    return {name: unquote(value) for name, value in scope["path_params"].items()}


def as_of(visit: Visit, customer_id: str, sequence: int) -> dict[str, str]:
    """The header of an answer about one customer: how new it is.

    Raises:
        ApiError: 503 NOT_YET_VISIBLE: the server of the read models came back older than it was when it was waited for.
    """
    check_as_of(visit, customer_id, sequence)
    return {"ledger-position": position(shard_of(customer_id, visit.parts.settings.shards), sequence)}


def check_as_of(visit: Visit, customer_id: str, sequence: int) -> None:
    """Where only that matters, and the answer is of something else. Raises as `as_of`."""
    if sequence < visit.at_least.get(shard_of(customer_id, visit.parts.settings.shards), 0):
        raise not_yet_visible()


def as_of_all(visit: Visit) -> dict[str, str]:
    """The header of an answer over all shards: what the read models had before it was read."""
    reached = visit.parts.visibility.reached()
    if len(reached) > SHARDS_SHOWN_MAX:
        return {}
    shown = [position(shard, sequence) for shard, sequence in enumerate(reached) if sequence]
    return {"ledger-position": ",".join(shown or ["0:0"])}


def as_of_reached(visit: Visit, customer_id: str) -> dict[str, str]:
    """The same for an answer about one customer."""
    shard = shard_of(customer_id, visit.parts.settings.shards)
    return {"ledger-position": position(shard, visit.parts.visibility.reached()[shard])}


def check_currency(visit: Visit, currency: str, key: str | None) -> None:
    """What is not open is refused here and leaves nothing. With a key the ledger is asked: it may have been open before.

    Raises:
        ApiError: 422 UNSUPPORTED_CURRENCY.
    """
    if key is None and currency not in visit.parts.settings.currencies:
        raise refused(Refusal.UNSUPPORTED_CURRENCY.value)


async def reading(scope: AsgiScope) -> Visit:
    """A request that reads: its key may, and the read models are as new as it demands.

    Raises:
        ApiError: 401, 429, or 503 NOT_YET_VISIBLE.
    """
    return await new_enough(await _visit(scope, Scope.READ))


async def writing(scope: AsgiScope) -> Visit:
    """A request that writes. Raises ApiError 401, 429."""
    return await _visit(scope, Scope.WRITE)


async def writing_to_found(scope: AsgiScope) -> Visit:
    """A request that writes to what it looks up in the read models first. Raises as `reading`; then nothing is applied."""
    return await new_enough(await _visit(scope, Scope.WRITE))


async def refunding(scope: AsgiScope) -> Visit:
    """A request that gives money back, of a payment that it looks up first. Raises as `writing_to_found`."""
    return await new_enough(await _visit(scope, Scope.REFUND))


async def erasing(scope: AsgiScope) -> Visit:
    """A request that destroys what cannot come back. Raises ApiError 401, 429."""
    return await _visit(scope, Scope.ADMIN)


async def _visit(scope: AsgiScope, needed: Scope) -> Visit:
    parts = parts_of(scope)
    call: Call = scope["state"]["call"]
    caller = await parts.auth.caller(call, needed)
    return Visit(call, caller, parts, path_of(scope), {})


async def new_enough(visit: Visit) -> Visit:
    """Waits until the read models have what the request names. Raises as `reading`."""
    settings = visit.parts.settings
    if not (at_least := positions_of(visit.call, settings.shards)):
        return visit
    visibility, seconds = visit.parts.visibility, settings.read_wait_seconds
    waits = (visibility.wait(*position, seconds) for position in at_least.items())
    if not all(await asyncio.gather(*waits)) or not await visibility.confirm(at_least):
        raise not_yet_visible()
    return visit._replace(at_least=at_least)
