"""`/customers/{customer_id}/wallets/ledger-entries`: credit, debit, and what has happened."""

from datetime import datetime

import msgspec
from litestar import get, post
from litestar.types import Scope
from msgspec import UNSET

from events.commands import CreditWallet, DebitWallet
from services.api.answers import Answer, json
from services.api.errors import not_found
from services.api.parsing.values import body_of, currency_of, customer_id, key_of, page_of, query_of
from services.api.parts import as_of, check_currency, reading, writing
from services.api.ports import EntryRow
from services.api.shapes.customers import (
    EVENT_TYPES,
    CreateLedgerEntry,
    CustomerWallet,
    CustomerWalletTransaction,
    LedgerEntryPage,
    or_unset,
)

_body = msgspec.json.Decoder(CreateLedgerEntry)
_LIST = frozenset({"page_number", "page_size", "currency"})


@post("/customers/{customer_id:str}/wallets/ledger-entries", status_code=200)
async def create(scope: Scope) -> Answer:
    """The wallet after the entry, as the ledger's reply says."""
    visit = await writing(scope)
    identifier = customer_id(visit.path["customer_id"])
    body = await body_of(visit.call, _body)
    key = key_of(visit.call, body.idempotency_key)
    check_currency(visit, body.currency, key)
    move = CreditWallet if body.entry_type == "credit" else DebitWallet
    ask = move(currency=body.currency, amount=body.amount, reason=or_unset(body.reason))
    written = await visit.parts.asking.write(visit.call, visit.caller, identifier, ask, key)
    reply = written.reply
    assert reply.balance_after is not UNSET, "a reply to a movement of money says the balance"
    wallet = CustomerWallet(
        balance=reply.balance_after,
        created_at=datetime.fromisoformat(reply.registered or reply.time),
        currency=body.currency,
        customer_id=identifier,
        updated_at=datetime.fromisoformat(reply.time),
    )
    return json(wallet, written.headers)


@get("/customers/{customer_id:str}/wallets/ledger-entries")
async def list_entries(scope: Scope) -> Answer:
    """Newest first, optionally of one currency."""
    visit = await reading(scope)
    identifier = customer_id(visit.path["customer_id"])
    query = query_of(visit.call, _LIST)
    page, currency = page_of(query), currency_of(query)
    tenant = visit.caller.tenant
    sequence, rows = await visit.parts.queries.entries(tenant, identifier, page, currency)
    headers = as_of(visit, identifier, sequence)
    if rows is None:
        raise not_found(headers=headers)
    items = [_shown(tenant.business_id, identifier, row) for row in rows]
    return json(LedgerEntryPage(items=items), headers)


ROUTES = (create, list_entries)


def _shown(business_id: str, identifier: str, row: EntryRow) -> CustomerWalletTransaction:
    return CustomerWalletTransaction(
        id=row.entry_id,
        after_balance=row.balance_after,
        amount=row.amount,
        before_balance=row.balance_before,
        business_id=business_id,
        created_at=row.created_at,
        currency=row.currency,
        customer_id=identifier,
        event_type=EVENT_TYPES[row.cause],
        is_credit=row.is_credit,
        reason=row.reason,
        reference_object_id=row.reference,
    )
