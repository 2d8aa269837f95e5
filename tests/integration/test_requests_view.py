"""What was asked of upstream, as the read models have it: the same however events are cut into batches."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from events.facts import AnyFact
from events.foreign import Refund
from events.ids import derived
from events.recorded import Answer, SubscriptionRecorded
from events.requested import RefundRequested, SubscriptionChangeRequested, TopUpRequested
from events.requests import ChangeInClear
from services.api.foreign_ports import Requested
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from tests import upstream
from tests.factories import TENANT
from tests.integration.read_models import SHARDS, make_views
from tests.servers import fresh_database
from tests.unit.projections.reading import records_of

REF, OTHER_REF, SCR, TOP = (derived(prefix, "1") for prefix in ("ref_", "ref_x", "scr_", "top_"))


def refund(status: str, name: str = REF) -> AnyFact:
    fact = upstream.refund(5, name, "pay_1", status).fact
    return replace(fact, refund=Refund(refund_id=name, payment_id="pay_1", status=status))


def plan(applied: bool) -> AnyFact:
    fact = upstream.subscription(6, "sub_1", "cancelled").fact
    assert isinstance(fact, SubscriptionRecorded)
    return replace(fact, answer=Answer(request_id=SCR, applied=applied))


ASK_REFUND = RefundRequested(request_id=REF, payment_id="pay_1", currency="USD", amount=500, is_partial=True)
ASK_CHANGE = SubscriptionChangeRequested(
    request_id=SCR, subscription_id="sub_1", change=ChangeInClear(status="cancelled")
)
ASK_TOP_UP = TopUpRequested(request_id=TOP, currency="INR", amount=700)

STORIES = [
    pytest.param([ASK_REFUND], ("refund", "pending", "pay_1", "USD", 500), id="asked"),
    pytest.param([ASK_REFUND, refund("review")], ("refund", "pending", "pay_1", "USD", 500), id="looked into"),
    pytest.param([ASK_REFUND, refund("pending"), refund("succeeded")],
                 ("refund", "settled", "pay_1", "USD", 500), id="done"),
    pytest.param([ASK_REFUND, refund("failed")], ("refund", "failed", "pay_1", "USD", 500), id="not done"),
    pytest.param([ASK_REFUND, refund("failed", "ref_another")], ("refund", "pending", "pay_1", "USD", 500), id="another"),
    pytest.param([ASK_CHANGE], ("subscription_change", "pending", "sub_1", None, None), id="a change"),
    pytest.param([ASK_CHANGE, plan(True)], ("subscription_change", "settled", "sub_1", None, None), id="changed"),
    pytest.param([ASK_CHANGE, plan(False)], ("subscription_change", "declined", "sub_1", None, None), id="declined"),
    pytest.param([ASK_CHANGE, plan(False), plan(True)], ("subscription_change", "settled", "sub_1", None, None), id="later"),
    pytest.param([ASK_CHANGE, plan(False), plan(True), plan(False)],
                 ("subscription_change", "settled", "sub_1", None, None), id="changed, and then again"),
    pytest.param([ASK_CHANGE, upstream.payment(1, "pay_renewal", request_id=SCR).fact, plan(False)],
                 ("subscription_change", "declined", "sub_1", None, None), id="a payment that names it, too"),
    pytest.param([ASK_TOP_UP], ("top_up", "pending", None, "INR", 700), id="a top-up"),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_t", request_id=TOP).fact],
        ("top_up", "settled", "pay_t", "INR", 700), id="paid",
    ),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_t", "cancelled", request_id=TOP).fact],
        ("top_up", "failed", "pay_t", "INR", 700), id="not paid",
    ),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_t", request_id=TOP).fact,
         upstream.payment(1, "pay_first", "failed", request_id=TOP).fact],
        ("top_up", "settled", "pay_t", "INR", 700), id="paid, and late news of a first attempt",
    ),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_first", "failed", request_id=TOP).fact,
         upstream.payment(1, "pay_t", request_id=TOP).fact],
        ("top_up", "settled", "pay_t", "INR", 700), id="paid at the second attempt",
    ),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_t", request_id=TOP).fact,
         upstream.payment(2, "pay_t", "failed", request_id=TOP).fact],
        ("top_up", "failed", "pay_t", "INR", 700), id="not paid after all",
    ),
    pytest.param(
        [ASK_TOP_UP, upstream.payment(1, "pay_t", request_id=TOP).fact,
         upstream.payment(1, "pay_twice", request_id=TOP).fact,
         upstream.payment(2, "pay_twice", "failed", request_id=TOP).fact],
        ("top_up", "settled", "pay_t", "INR", 700), id="paid, and a second payment came and went",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def views(postgres: str) -> Any:
    return make_views(lambda name: fresh_database(postgres, f"requests_{name}"))


@pytest.mark.parametrize(("story", "row"), STORIES)
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
async def test_a_request_and_what_became_of_it(
    views: Any, story: Sequence[AnyFact], row: tuple[Any, ...], together: bool
) -> None:
    views.clear()
    factory = views.factory()
    factory.registered("cus_1")
    for fact in story:
        factory.append("cus_1", fact, TENANT, "" if fact.CATEGORY == "customer" else f"{fact.CATEGORY}-1")
    records = records_of(factory.records)
    projector = views.projector()
    for batch in [records] if together else [[one] for one in records]:
        projector.apply(batch)
    [found] = await asked(views, lambda foreign: foreign.requests(TENANT, "cus_1", 10, None))
    assert (found.kind, found.status, found.object_id, found.currency, found.amount) == row


async def asked(views: Any, ask: Callable[[PostgresForeign], Any]) -> list[Requested]:
    queries = PostgresQueries(views.dsn, SHARDS)
    await queries.open()
    try:
        found: list[Requested] = await ask(PostgresForeign(queries, queries.searching))
        return found
    finally:
        await queries.close()


async def test_pages_end_where_they_should(views: Any) -> None:
    views.clear()
    factory = views.factory()
    factory.registered("cus_1")
    names = [derived("top_", str(number)) for number in range(5)]
    for name in names:
        factory.append("cus_1", TopUpRequested(request_id=name, currency="USD", amount=1), TENANT)
    views.projector().apply(records_of(factory.records))
    first = await asked(views, lambda foreign: foreign.requests(TENANT, "cus_1", 2, None))
    assert [one.request_id for one in first] == names[:1:-1]
    place = (first[1].created_at, first[1].request_id)
    rest = await asked(views, lambda foreign: foreign.requests(TENANT, "cus_1", 5, place))
    assert [one.request_id for one in rest] == names[2::-1]
    assert await asked(views, lambda foreign: foreign.requests(TENANT, "cus_2", 5, None)) == []
