"""What is asked about upstream's objects: refunds, changes of subscriptions, top-ups; and what the wallet pays itself."""

from datetime import datetime

import msgspec
from litestar import patch, post
from litestar.types import Scope

from events.requests import RefundToWallet, RequestAsk, RequestTopUp, SettleInvoice
from services.api import foreign_answers as answers
from services.api.answers import Answer, json
from services.api.asking import Written
from services.api.errors import not_found
from services.api.foreign_ports import PAYMENTS, SUBSCRIPTIONS, Kind, Told
from services.api.parsing.foreign import foreign_id
from services.api.parsing.requests import change_of, refund_of
from services.api.parsing.values import body_of, customer_id, key_of
from services.api.parts import Visit, check_as_of, check_currency, refunding, writing, writing_to_found
from services.api.shapes.customers import or_unset
from services.api.shapes.foreign import Pairs, Refund
from services.api.shapes.requests import (
    CreateRefund,
    CreateRefundToWallet,
    CreateSettlement,
    CreateTopUp,
    Settlement,
    TopUp,
    UpdateSubscription,
)
from services.api.shapes.subscriptions import Subscription

REQUEST = "ledger-request-id"

_refund = msgspec.json.Decoder(CreateRefund)
_to_wallet = msgspec.json.Decoder(CreateRefundToWallet)
_update = msgspec.json.Decoder(UpdateSubscription)
_settlement = msgspec.json.Decoder(CreateSettlement)
_top_up = msgspec.json.Decoder(CreateTopUp)


@post("/refunds", status_code=200)
async def create_refund(scope: Scope) -> Answer:
    """Pending: upstream gives it back."""
    visit = await refunding(scope)
    body = await body_of(visit.call, _refund)
    payment = await _known(visit, PAYMENTS, body.payment_id)
    written = await _asked(visit, payment, refund_of(body, payment))
    refund = _refunded(visit, payment, written, "pending", body.reason, body.metadata)
    return json(refund, written.headers | {REQUEST: written.reply.object_id})


@post("/v1/refunds/to-wallet", status_code=200)
async def refund_to_wallet(scope: Scope) -> Answer:
    """Done: the credit is in the wallet."""
    visit = await refunding(scope)
    body = await body_of(visit.call, _to_wallet)
    payment = await _known(visit, PAYMENTS, body.payment_id)
    ask = RefundToWallet(
        payment_id=body.payment_id,
        amount=or_unset(body.amount),
        currency=or_unset(body.currency),
        reason=or_unset(body.reason),
        metadata=or_unset(body.metadata),
    )
    written = await _asked(visit, payment, ask)
    return json(_refunded(visit, payment, written, "succeeded", body.reason, body.metadata), written.headers)


@patch("/subscriptions/{subscription_id:str}")
async def update_subscription(scope: Scope) -> Answer:
    """As it is known: upstream has not answered yet."""
    visit = await writing_to_found(scope)
    identifier = foreign_id(visit.path["subscription_id"])
    ask = change_of(identifier, await body_of(visit.call, _update))
    told = await _known(visit, SUBSCRIPTIONS, identifier)
    written = await _asked(visit, told, ask)
    shown = answers.subscription(Subscription, visit.caller.tenant.business_id, told)
    return json(shown, written.headers | {REQUEST: written.reply.object_id})


@post("/v1/customers/{customer_id:str}/wallets/settlements", status_code=200)
async def settle(scope: Scope) -> Answer:
    """Wallet first: what it has is paid, and the rest is said."""
    visit = await writing(scope)
    identifier = customer_id(visit.path["customer_id"])
    body = await body_of(visit.call, _settlement)
    key = key_of(visit.call)
    check_currency(visit, body.currency, key)
    ask = SettleInvoice(
        invoice_id=body.invoice_id, currency=body.currency, amount=body.amount, reason=or_unset(body.reason)
    )
    written = await visit.parts.asking.write(visit.call, visit.caller, identifier, ask, key)
    reply = written.reply
    applied, balance = reply.applied or 0, reply.balance_after or 0
    settlement = Settlement(
        settlement_id=reply.object_id,
        invoice_id=body.invoice_id,
        customer_id=identifier,
        currency=body.currency,
        amount=body.amount,
        applied=applied,
        remaining=body.amount - applied,
        balance=balance,
        entry_id=reply.entry_id or None,
        created_at=datetime.fromisoformat(reply.time),
    )
    return json(settlement, written.headers)


@post("/v1/customers/{customer_id:str}/wallets/top-ups", status_code=200)
async def request_top_up(scope: Scope) -> Answer:
    """Pending: upstream takes a payment of it."""
    visit = await writing(scope)
    identifier = customer_id(visit.path["customer_id"])
    body = await body_of(visit.call, _top_up)
    key = key_of(visit.call)
    check_currency(visit, body.currency, key)
    ask = RequestTopUp(
        currency=body.currency,
        amount=body.amount,
        return_url=or_unset(body.return_url),
        metadata=or_unset(body.metadata),
    )
    written = await visit.parts.asking.write(visit.call, visit.caller, identifier, ask, key)
    top_up = TopUp(
        request_id=written.reply.object_id,
        customer_id=identifier,
        currency=body.currency,
        amount=body.amount,
        created_at=datetime.fromisoformat(written.reply.time),
    )
    return json(top_up, written.headers | {REQUEST: top_up.request_id})


ROUTES = (create_refund, refund_to_wallet, update_subscription, settle, request_top_up)


async def _known(visit: Visit, kind: Kind, identifier: str) -> Told:
    """Whose it is, the read models say. Raises ApiError 404, or 503 NOT_YET_VISIBLE."""
    found = await visit.parts.foreign.one(visit.caller.tenant, kind, identifier)
    if found is None:
        raise not_found()
    sequence, told = found
    check_as_of(visit, told.person.customer_id, sequence)
    return told


async def _asked(visit: Visit, told: Told, ask: RequestAsk) -> Written:
    owner = told.person.customer_id
    return await visit.parts.asking.write(visit.call, visit.caller, owner, ask, key_of(visit.call))


def _refunded(
    visit: Visit, payment: Told, written: Written, status: str, reason: str | None, metadata: Pairs | None
) -> Refund:
    reply = written.reply
    return Refund(
        refund_id=reply.object_id,
        payment_id=payment.known["payment_id"],
        business_id=visit.caller.tenant.business_id,
        brand_id=payment.row["brand_id"],
        customer=answers.person(payment.person),
        created_at=datetime.fromisoformat(reply.time),
        is_partial=reply.is_partial,
        status=status,
        amount=reply.amount or None,
        currency=reply.currency,
        reason=reason,
        metadata=metadata or {},
    )
