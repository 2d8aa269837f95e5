"""A week of the played payment service, with nulls, repeats and disorder: the SDK reads all of it strictly."""

import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from dodopayments import AsyncDodoPayments

from events.ids import Tenant
from events.recorded import (
    DisputeRecorded,
    LicenceKeyRecorded,
    PaymentRecorded,
    RefundRecorded,
    SubscriptionRecorded,
)
from events.upstream import (
    RecordDispute,
    RecordLicenceKey,
    RecordPayment,
    RecordRefund,
    RecordSubscription,
    RecordUpstream,
)
from services.api.auth import Caller
from services.api.keys import secret_hash
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from services.intake.record import NotUnderstood
from services.intake.understanding import TYPES, understand
from services.upstream.business import Business
from services.upstream.trade import DAY
from services.upstream.world import Delivery, Trouble
from tests.factories import EventFactory
from tests.integration.read_models import SHARDS, make_views
from tests.sdk.conftest import sdk
from tests.unit.api.fakes import make_api
from tests.unit.projections.reading import records_of
from tests.upstream import OfAnObject

START = 1_790_000_000_000_000
BUSINESS = Tenant("bus_dev", "test")
SECRET = "wl_test_own"
PAGES_MAX = 200
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of licence keys, by the SDK


FACTS: dict[type[RecordUpstream], tuple[type[OfAnObject], str]] = {
    RecordPayment: (PaymentRecorded, "payment"),
    RecordRefund: (RefundRecorded, "refund"),
    RecordDispute: (DisputeRecorded, "dispute"),
    RecordSubscription: (SubscriptionRecorded, "subscription"),
    RecordLicenceKey: (LicenceKeyRecorded, "licence_key"),
}


@cache
def week() -> list[dict[str, Any]]:
    """What is told in a week, late, twice and out of order."""
    business = Business(7, BUSINESS.business_id, BUSINESS.mode, START, 60, Trouble(), joining=2 * DAY)
    letters = business.world.play(START + 7 * DAY)
    return [msgspec.json.decode(one.value) for one in letters if isinstance(one, Delivery)]


def record(factory: EventFactory) -> None:
    """As intake understands it and the ledger keeps it; a dispute belongs to the customer of its payment."""
    payments = [event["data"] for event in week() if event["type"].startswith("payment.")]
    customers = {
        data["payment_id"]: data["customer"]["customer_id"] for data in payments if "customer" in data
    }
    registered: set[str] = set()
    for event in week():
        try:
            said = understand(msgspec.json.encode(event), BUSINESS.mode, START + 7 * DAY)
        except NotUnderstood:
            continue
        ask = said.ask
        customer = said.customer or customers.get(said.payment, "")
        if ask is None or not customer or type(ask) not in FACTS:
            continue
        if customer not in registered:
            factory.registered(customer, tenant=BUSINESS)
        registered.add(customer)
        kind, field = FACTS[type(ask)]
        print_ = f"{zlib.crc32(msgspec.json.encode(event['data'])):016x}"
        fact = kind(told=ask.told, print=print_, **{field: getattr(ask, field)})
        [stream] = ask.streams
        factory.told(customer, stream, fact, ask.foreign, BUSINESS)


@pytest.fixture
async def client(database: Callable[[str], str]) -> AsyncIterator[AsyncDodoPayments]:
    views = make_views(database)
    factory = views.factory()
    record(factory)
    views.projector().apply(records_of(factory.records))
    queries = PostgresQueries(views.dsn, SHARDS)
    await queries.open()
    api = make_api(foreign=PostgresForeign(queries, queries.searching))
    api.keys[secret_hash(SECRET)] = Caller("key_own", BUSINESS, frozenset({"read"}), float("inf"))
    async with sdk(api, SECRET) as made:
        yield made
    await queries.close()


def told() -> dict[str, dict[str, Any]]:
    """By family the newest of each object, computed from what was told alone."""
    newest: dict[str, dict[str, Any]] = {}
    for event in week():
        family, data = event["type"].split(".")[0], event["data"]
        names = {"payment": "payment_id", "refund": "refund_id", "dispute": "dispute_id"}
        names |= {"subscription": "subscription_id", "license_key": "id"}
        if event["type"] in TYPES and family in names:
            known = newest.setdefault(family, {}).get(data[names[family]])
            stamp = (event["timestamp"], data.get("updated_at") or "")
            if known is None or known[0] <= stamp:
                newest[family][data[names[family]]] = (stamp, data)
    return newest


async def everything(resource: Any) -> list[Any]:
    """All pages; `page_number` is given, for the SDK skips one otherwise."""
    found: list[Any] = []
    for number in range(PAGES_MAX):
        items = (await resource.list(page_number=number, page_size=100)).items
        if not items:
            return found
        found += items
    raise AssertionError("the list does not end")


async def test_the_sdk_reads_a_week_strictly(client: AsyncDodoPayments) -> None:
    newest = told()
    payments = await everything(client.payments)
    assert {one.payment_id: one.total_amount for one in payments} == {
        name: data["total_amount"] for name, (_, data) in newest["payment"].items()
    }
    statuses = Counter(one.status for one in payments)
    assert statuses == Counter(data["status"] for _, data in newest["payment"].values())
    assert len(statuses) > 1
    for resource, family, key in (
        (client.refunds, "refund", "refund_id"),
        (client.disputes, "dispute", "dispute_id"),
        (client.subscriptions, "subscription", "subscription_id"),
        (client.license_keys, "license_key", "id"),
    ):
        items = await everything(resource)
        assert {getattr(one, key) for one in items} == newest[family].keys(), family
        for one in items[:20]:
            await resource.retrieve(getattr(one, key))
    for one in payments[:40]:
        assert (await client.payments.retrieve(one.payment_id)).total_amount == one.total_amount
        await client.payments.retrieve_line_items(one.payment_id)
