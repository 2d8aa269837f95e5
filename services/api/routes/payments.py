"""`/payments`, and the refunds and disputes of them: what upstream told."""

from functools import partial

from litestar import get
from litestar.types import Scope

from services.api import foreign_answers as answers
from services.api.answers import Answer, json
from services.api.errors import invalid_query, not_found
from services.api.foreign_ports import DISPUTES, PAYMENTS, REFUNDS, Whole
from services.api.parsing.foreign import foreign_id
from services.api.parsing.values import currency_of, query_of
from services.api.parts import Visit, as_of, reading
from services.api.routes import foreign
from services.api.shapes.foreign import (
    DisputeListItem,
    DisputePage,
    GetDispute,
    PaymentListItem,
    PaymentPage,
    Refund,
    RefundListItem,
    RefundPage,
)

_LINE_ITEMS = frozenset({"currency"})


@get("/payments")
async def list_payments(scope: Scope) -> Answer:
    visit = await reading(scope)
    items = await foreign.page_of(visit, PAYMENTS, partial(answers.payment, PaymentListItem))
    return json(PaymentPage(items=items))


@get("/payments/{payment_id:str}")
async def retrieve_payment(scope: Scope) -> Answer:
    visit = await reading(scope)
    whole, headers = await _payment(visit)
    return json(answers.whole_payment(visit.caller.tenant.business_id, whole), headers)


@get("/payments/{payment_id:str}/line-items")
async def retrieve_line_items(scope: Scope) -> Answer:
    visit = await reading(scope)
    currency = currency_of(query_of(visit.call, _LINE_ITEMS))
    whole, headers = await _payment(visit)
    items = answers.line_items(whole, currency)
    if items is None:
        raise invalid_query("currency is the one that the payment was made in")
    return json(items, headers)


@get("/refunds")
async def list_refunds(scope: Scope) -> Answer:
    visit = await reading(scope)
    items = await foreign.page_of(visit, REFUNDS, partial(answers.refund, RefundListItem))
    return json(RefundPage(items=items))


@get("/refunds/{refund_id:str}")
async def retrieve_refund(scope: Scope) -> Answer:
    visit = await reading(scope)
    told, headers = await foreign.one_of(visit, REFUNDS)
    return json(answers.refund(Refund, visit.caller.tenant.business_id, told), headers)


@get("/disputes")
async def list_disputes(scope: Scope) -> Answer:
    visit = await reading(scope)
    items = await foreign.page_of(visit, DISPUTES, partial(answers.dispute, DisputeListItem))
    return json(DisputePage(items=items))


@get("/disputes/{dispute_id:str}")
async def retrieve_dispute(scope: Scope) -> Answer:
    visit = await reading(scope)
    told, headers = await foreign.one_of(visit, DISPUTES)
    return json(answers.dispute(GetDispute, visit.caller.tenant.business_id, told), headers)


ROUTES = (
    list_payments,
    retrieve_payment,
    retrieve_line_items,
    list_refunds,
    retrieve_refund,
    list_disputes,
    retrieve_dispute,
)


async def _payment(visit: Visit) -> tuple[Whole, dict[str, str]]:
    identifier = foreign_id(visit.path["payment_id"])
    whole = await visit.parts.foreign.payment(visit.caller.tenant, identifier)
    if whole is None:
        raise not_found()
    return whole, as_of(visit, whole.payment.person.customer_id, whole.sequence)
