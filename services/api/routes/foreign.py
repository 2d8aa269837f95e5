"""What routes over upstream's objects have in common: a page, and one by its id."""

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from services.api.errors import not_found
from services.api.foreign_ports import Kind, Told
from services.api.parsing.foreign import foreign_id, listing_of
from services.api.parts import Visit, as_of

S = TypeVar("S", bound=Struct)


async def page_of(visit: Visit, kind: Kind, shown: Callable[[str, Told], S]) -> list[S]:
    """Newest first. Over all shards, so there is no one position that it is as of."""
    page, where = listing_of(visit.call, kind)
    tenant = visit.caller.tenant
    rows = await visit.parts.foreign.page(tenant, kind, page, where) if page.limit else []
    return [shown(tenant.business_id, row) for row in rows]


async def one_of(visit: Visit, kind: Kind) -> tuple[Told, dict[str, str]]:
    """The object of the path, and how new it is. Raises ApiError 404."""
    identifier = foreign_id(visit.path[kind.key])
    found = await visit.parts.foreign.one(visit.caller.tenant, kind, identifier)
    if found is None:
        raise not_found()
    sequence, told = found
    return told, as_of(visit, told.person.customer_id, sequence)
