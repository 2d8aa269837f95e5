"""`/v1/customers` and `/v1/ledger-entries`: found by what is known of them."""

from litestar import get
from litestar.types import Scope
from msgspec import UNSET, UnsetType

from events.ids import position
from services.api import tab
from services.api.answers import Answer, json
from services.api.cursor import micros
from services.api.errors import not_found
from services.api.export import Export
from services.api.lookups import Counted, FoundCustomer, FoundEntry
from services.api.parsing.lookups import customers_of, entries_of, export_of, requests_of, transactions_of
from services.api.parsing.values import customer_id, entry_id
from services.api.parts import Visit, as_of_all, as_of_reached, reading
from services.api.shapes.lookups import (
    CustomerDetail,
    CustomerList,
    CustomerTransactionList,
    LedgerEntry,
    LedgerEntryList,
    Total,
)
from services.api.shapes.requests import CustomerRequest, CustomerRequestList


@get("/v1/customers")
async def list_customers(scope: Scope) -> Answer:
    visit = await reading(scope)
    lookups, tenant = visit.parts.lookups, visit.caller.tenant
    lookup, listing = customers_of(visit.call, tenant)
    headers = as_of_all(visit)
    found = await lookups.customers(tenant, lookup)
    page = CustomerList(
        items=[_customer(row) for row in found.items],
        next_cursor=None if found.next is None else listing.cursors.encode(found.next),
        total=_total(await lookups.customers_total(tenant, lookup)) if listing.total else UNSET,
    )
    return json(page, headers)


@get("/v1/customers/{customer_id:str}")
async def retrieve_customer(scope: Scope) -> Answer:
    visit = await reading(scope)
    identifier = customer_id(visit.path["customer_id"])
    headers = as_of_reached(visit, identifier)
    row = await visit.parts.lookups.customer(visit.caller.tenant, identifier)
    if row is None:
        raise not_found(headers=headers)
    return json(_customer(row), headers)


@get("/v1/ledger-entries")
async def list_entries(scope: Scope) -> Answer:
    """Of all customers, newest first."""
    visit = await reading(scope)
    return await _entries(visit, None, as_of_all(visit))


@get("/v1/customers/{customer_id:str}/ledger-entries")
async def list_entries_of_customer(scope: Scope) -> Answer:
    visit = await reading(scope)
    owner, headers = await _owner(visit)
    return await _entries(visit, owner, headers)


@get("/v1/customers/{customer_id:str}/transactions")
async def list_transactions(scope: Scope) -> Answer:
    """His payments, in words for people."""
    visit = await reading(scope)
    owner, headers = await _owner(visit)
    tenant = visit.caller.tenant
    limit, after, cursors = transactions_of(visit.call, tenant, owner)
    found = await visit.parts.foreign.transactions(tenant, owner, limit, after)
    items, last = found[:limit], found[limit - 1 : limit]
    place = (micros(last[0].created_at), last[0].payment_id) if len(found) > limit else None
    page = CustomerTransactionList(
        items=[tab.shown(one) for one in items], next_cursor=None if place is None else cursors.encode(place)
    )
    return json(page, headers)


@get("/v1/customers/{customer_id:str}/requests")
async def list_requests(scope: Scope) -> Answer:
    """What was asked of upstream for him, and what became of it."""
    visit = await reading(scope)
    owner, headers = await _owner(visit)
    tenant = visit.caller.tenant
    limit, after, cursors = requests_of(visit.call, tenant, owner)
    found = await visit.parts.foreign.requests(tenant, owner, limit, after)
    items, last = found[:limit], found[limit - 1 : limit]
    place = (micros(last[0].created_at), last[0].request_id) if len(found) > limit else None
    page = CustomerRequestList(
        items=[CustomerRequest(**one._asdict()) for one in items],
        next_cursor=None if place is None else cursors.encode(place),
    )
    return json(page, headers)


@get("/v1/ledger-entries/{entry_id:str}")
async def retrieve_entry(scope: Scope) -> Answer:
    visit = await reading(scope)
    headers = as_of_all(visit)
    row = await visit.parts.lookups.entry(visit.caller.tenant, entry_id(visit.path["entry_id"]))
    if row is None:
        raise not_found(headers=headers)
    return json(_entry(row), as_of_reached(visit, row.customer_id))


@get("/v1/ledger-entries/export")
async def export_entries(scope: Scope) -> Export:
    visit = await reading(scope)
    return _export(visit, None, as_of_all(visit))


@get("/v1/customers/{customer_id:str}/ledger-entries/export")
async def export_entries_of_customer(scope: Scope) -> Export:
    visit = await reading(scope)
    owner, headers = await _owner(visit)
    return _export(visit, owner, headers)


ROUTES = (
    list_customers,
    retrieve_customer,
    list_entries,
    list_entries_of_customer,
    list_transactions,
    list_requests,
    retrieve_entry,
    export_entries,
    export_entries_of_customer,
)


async def _owner(visit: Visit) -> tuple[str, dict[str, str]]:
    """The customer of the path, who must be one of this tenant; and how new an answer about him is."""
    identifier = customer_id(visit.path["customer_id"])
    headers = as_of_reached(visit, identifier)
    _, row = await visit.parts.queries.customer(visit.caller.tenant, identifier)
    if row is None:
        raise not_found(headers=headers)
    return identifier, headers


async def _entries(visit: Visit, owner: str | None, headers: dict[str, str]) -> Answer:
    lookups, tenant = visit.parts.lookups, visit.caller.tenant
    lookup, listing = entries_of(visit.call, tenant, owner)
    found = await lookups.entries(tenant, lookup)
    page = LedgerEntryList(
        items=[_entry(row) for row in found.items],
        next_cursor=None if found.next is None else listing.cursors.encode(found.next),
        total=_total(await lookups.entries_total(tenant, lookup)) if listing.total else UNSET,
    )
    return json(page, headers)


def _export(visit: Visit, owner: str | None, headers: dict[str, str]) -> Export:
    lookup, form = export_of(visit.call, owner)
    settings, tenant = visit.parts.settings, visit.caller.tenant
    return Export(
        visit.parts.exports.entries(tenant, lookup), _entry, form, settings.export_rows_max, headers
    )


def _total(counted: Counted | None) -> Total | UnsetType | None:
    return None if counted is None else Total(count=counted.number, exact=counted.exact)


def _customer(row: FoundCustomer) -> CustomerDetail:
    return CustomerDetail(**row._asdict())


def _entry(row: FoundEntry) -> LedgerEntry:
    return LedgerEntry(
        entry_id=row.entry_id,
        customer_id=row.customer_id,
        currency=row.currency,
        direction="credit" if row.is_credit else "debit",
        amount=row.amount,
        balance_before=row.balance_before,
        balance_after=row.balance_after,
        cause=row.cause,  # type: ignore[arg-type]  # the projector writes no other
        counter_account=row.counter_account,
        reference=row.reference,
        reason=row.reason,
        created_at=row.created_at,
        position=position(row.shard, row.sequence),
    )
