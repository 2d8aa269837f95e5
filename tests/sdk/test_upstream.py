"""What upstream told, from events to the SDK: through projector, PostgreSQL and application; every answer is strict."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import dodopayments
import psycopg
import pytest
from dodopayments import AsyncDodoPayments
from msgspec import UNSET

from events.ids import Tenant
from services.api.foreign_queries import PostgresForeign
from services.api.queries import PostgresQueries
from tests import upstream
from tests.factories import EventFactory
from tests.integration.read_models import SHARDS, Views, make_views
from tests.sdk.conftest import sdk
from tests.unit.api.fakes import TENANT, make_api
from tests.unit.projections.reading import records_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of licence keys, by the SDK


class Business:
    """One tenant's events, applied as they are told."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.factory: EventFactory = views.factory()
        self._projector = views.projector()
        self._applied = 0

    def customer(self, customer_id: str, tenant: Tenant = TENANT, **profile: Any) -> None:
        self.factory.registered(customer_id, "Mai", "mai@example.com", tenant=tenant, **profile)

    def told(self, customer_id: str, *news: upstream.News, tenant: Tenant = TENANT) -> None:
        for one in news:
            self.factory.told(customer_id, *one, tenant)

    def apply(self) -> None:
        records = records_of(self.factory.records)
        self._projector.apply(records[self._applied :])
        self._applied = len(records)


@pytest.fixture
def business(database: Callable[[str], str]) -> Business:
    return Business(make_views(database))


@pytest.fixture
async def client(business: Business) -> AsyncIterator[AsyncDodoPayments]:
    queries = PostgresQueries(business.views.dsn, SHARDS)
    await queries.open()
    api = make_api(foreign=PostgresForeign(queries, queries.searching))
    async with sdk(api) as made:
        yield made
    await queries.close()


@pytest.fixture
async def stranger(business: Business) -> AsyncIterator[AsyncDodoPayments]:
    """Another tenant's client."""
    queries = PostgresQueries(business.views.dsn, SHARDS)
    await queries.open()
    async with sdk(make_api(foreign=PostgresForeign(queries, queries.searching)), "wl_test_other") as made:
        yield made
    await queries.close()


@pytest.fixture
def mai(business: Business) -> str:
    business.customer("cus_mai", phone_number="+84", metadata={"tier": "gold"})
    business.told("cus_mai", *upstream.business("cus_mai"))
    business.apply()
    return "cus_mai"


async def test_a_payment_with_all_that_became_of_it(client: AsyncDodoPayments, mai: str) -> None:
    found = await client.payments.retrieve(f"pay_{mai}")
    assert (found.status, found.total_amount, found.currency, found.tax) == ("succeeded", 1_100, "USD", 100)
    assert found.customer.to_dict() == {
        "customer_id": mai, "name": "Mai", "email": "mai@example.com", "phone_number": "+84",
        "metadata": {"tier": "gold"},
    }  # fmt: skip
    assert (found.business_id, found.brand_id) == (TENANT.business_id, TENANT.business_id)
    assert found.billing.to_dict() == {
        "country": "VN", "city": "Huế", "state": None, "street": None, "zipcode": None,
    }  # fmt: skip
    assert (found.card_last_four, found.metadata, found.charge_type) == ("4242", {"order": 7}, "renewal")
    assert (found.subscription_id, found.subscription_ids) == (f"sub_{mai}", [f"sub_{mai}"])
    assert found.created_at == datetime.fromisoformat(upstream.at(0))
    assert (found.settlement_amount, found.settlement_currency, found.service_periods) == (1_100, "USD", [])
    assert {(one.refund_id, one.amount, one.status) for one in found.refunds} == {
        (f"ref_{mai}", 100, "succeeded"), (f"ref_{mai}_2", 1_100, "succeeded"),
    }  # fmt: skip
    assert [(one.dispute_id, one.dispute_status, one.amount) for one in found.disputes] == [
        (f"dp_{mai}", "dispute_won", "1100")
    ]
    assert found.refund_status == "full"


async def test_what_upstream_did_not_say_has_a_value_where_the_sdk_needs_one(
    business: Business, client: AsyncDodoPayments
) -> None:
    business.customer("cus_1")
    bare = upstream.payment(1, "pay_1", "processing", product_cart=[], payment_provider=UNSET)
    nulls = dict.fromkeys(
        (
            "billing",
            "metadata",
            "retry_attempt",
            "settlement_amount",
            "payment_provider",
            "tax",
            "card_last_four",
        )
    )
    odd = {
        "metadata": {"a": None, "b": 1},
        "service_periods": "none",
        "retry_attempt": "x",
        "billing": {"country": 7},
    }
    business.told("cus_1", bare._replace(came=nulls), upstream.payment(1, "pay_2")._replace(came=odd))
    for name in ("subscription", "dispute", "licence_key"):
        business.told(
            "cus_1",
            *(getattr(upstream, name)(1, f"{name}_1", *["pay_1"][: name == "dispute"])._replace(came={}),),
        )
    business.told("cus_1", upstream.refund(1, "refund_1", "pay_9", amount=None)._replace(came={}))
    business.apply()
    one = await client.payments.retrieve("pay_1")
    assert (one.billing.country, one.metadata, one.retry_attempt, one.payment_provider) == (
        "AQ",
        {},
        0,
        "dodo",
    )
    two = await client.payments.retrieve("pay_2")
    assert (two.metadata, two.service_periods, two.retry_attempt, two.billing.country) == (
        {"b": 1},
        [],
        0,
        "AQ",
    )
    subscription = await client.subscriptions.retrieve("subscription_1")
    assert (subscription.payment_frequency_interval, subscription.previous_billing_date) == (
        "Month", subscription.created_at,
    )  # fmt: skip
    licence = await client.license_keys.retrieve("licence_key_1")
    assert (licence.key, licence.source, licence.instances_count) == ("", "auto", 0)
    refund = await client.refunds.retrieve("refund_1")
    assert (refund.amount, refund.currency, refund.is_partial, refund.brand_id) == (
        None,
        None,
        False,
        TENANT.business_id,
    )
    assert (await client.disputes.retrieve("dispute_1")).payment_provider == "dodo"
    for page in (client.payments, client.refunds, client.disputes, client.subscriptions, client.license_keys):
        assert (await page.list()).items


async def test_line_items_are_what_can_be_given_back(business: Business, client: AsyncDodoPayments) -> None:
    business.customer("cus_1")
    settled = {"settlement_currency": "INR", "settlement_amount": 92_401, "settlement_tax": 8_400}
    business.told(
        "cus_1",
        upstream.payment(1, "pay_1", total=1_100, **settled),
        upstream.refund(2, "ref_1", "pay_1", "failed", 1_100),
        upstream.refund(3, "ref_2", "pay_1", "review", 300),
        upstream.refund(3, "ref_3", "pay_1", "pending", 100),
        upstream.payment(1, "pay_2", "failed", product_cart=[]),
    )
    business.apply()
    paid = await client.payments.retrieve_line_items("pay_1", currency="USD")
    assert (paid.currency, paid.partial_refund_allowed) == ("USD", True)
    [item] = paid.items
    assert (item.items_id, item.amount, item.tax, item.refundable_amount) == ("pdt_a", 1_100, 100, 700)
    settled_ = await client.payments.retrieve_line_items("pay_1")
    [item] = settled_.items
    assert (settled_.currency, item.amount, item.tax) == ("INR", 92_401, 8_400)
    assert item.refundable_amount == 92_401 * 700 // 1_100
    [item] = (await client.payments.retrieve_line_items("pay_2")).items
    assert (item.items_id, item.refundable_amount) == ("pay_2", 0)
    with pytest.raises(dodopayments.UnprocessableEntityError):
        await client.payments.retrieve_line_items("pay_1", currency="EUR")


async def test_everything_is_retrieved(client: AsyncDodoPayments, mai: str) -> None:
    refund = await client.refunds.retrieve(f"ref_{mai}")
    assert (refund.amount, refund.reason, refund.is_partial) == (100, "damaged \\u0000", True)
    assert refund.customer.name == "Mai"
    dispute = await client.disputes.retrieve(f"dp_{mai}")
    assert (dispute.amount, dispute.remarks, dispute.dispute_stage) == ("1100", "ß", "dispute")
    subscription = await client.subscriptions.retrieve(f"sub_{mai}", locale="fr")
    assert (subscription.status, subscription.recurring_pre_tax_amount, subscription.quantity) == (
        "active",
        900,
        2,
    )
    assert (subscription.brand_id, subscription.customer_business_name) == ("brd_1", "Mai & Co")
    licence = await client.license_keys.retrieve(f"lic_{mai}")
    assert (licence.key, licence.status, licence.source) == ("a5e7-🔑", "disabled", "import")
    assert licence.instances_count == 2
    instance = await client.license_key_instances.retrieve(f"lki_{mai}_1")
    assert (instance.name, instance.license_key_id) == ("laptop 1", f"lic_{mai}")
    with pytest.raises(dodopayments.NotFoundError):  # it was told without this one since
        await client.license_key_instances.retrieve(f"lki_{mai}_0")
    instances = await client.license_key_instances.list(license_key_id=f"lic_{mai}")
    assert [one.id for one in instances.items] == [f"lki_{mai}_2", f"lki_{mai}_1"]
    assert len((await client.license_key_instances.list()).items) == 2
    assert (await client.license_key_instances.list(grant_id="entg_1")).items == []


WHEN = datetime.fromisoformat(upstream.at(0))
LISTS: list[tuple[str, dict[str, Any], int]] = [
    ("payments", {}, 2), ("payments", {"customer_id": "cus_mai"}, 2), ("payments", {"customer_id": "cus_b"}, 0),
    ("payments", {"status": "failed"}, 1), ("payments", {"status": "processing"}, 0),
    ("payments", {"currency": "USD"}, 2), ("payments", {"currency": "INR"}, 0),
    ("payments", {"product_id": "pdt_a"}, 1), ("payments", {"product_id": "pdt_b"}, 0),
    ("payments", {"subscription_id": "sub_cus_mai"}, 1), ("payments", {"subscription_id": "sub_b"}, 0),
    ("payments", {"brand_id": TENANT.business_id}, 2), ("payments", {"brand_id": "brd_1"}, 0),
    ("payments", {"created_at_lte": WHEN}, 1), ("payments", {"created_at_gte": WHEN}, 2),
    ("payments", {"page_size": 0}, 0), ("payments", {"page_size": 1, "page_number": 1}, 1),
    ("payments", {"customer_id": "cus_mai", "status": "succeeded", "currency": "USD", "product_id": "pdt_a"}, 1),
    ("refunds", {}, 2), ("refunds", {"customer_id": "cus_mai"}, 2), ("refunds", {"status": "succeeded"}, 2),
    ("refunds", {"status": "pending"}, 0), ("refunds", {"subscription_id": "sub_cus_mai"}, 2),
    ("refunds", {"subscription_id": "sub_b"}, 0), ("refunds", {"created_at_lte": WHEN}, 0),
    ("disputes", {}, 1), ("disputes", {"dispute_status": "dispute_won"}, 1),
    ("disputes", {"dispute_status": "dispute_opened"}, 0), ("disputes", {"dispute_stage": "dispute"}, 1),
    ("disputes", {"dispute_stage": "pre_dispute"}, 0), ("disputes", {"customer_id": "cus_b"}, 0),
    ("subscriptions", {}, 1), ("subscriptions", {"status": "active"}, 1), ("subscriptions", {"status": "pending"}, 0),
    ("subscriptions", {"brand_id": "brd_1"}, 1), ("subscriptions", {"brand_id": "brd_2"}, 0),
    ("subscriptions", {"cancel_at_next_billing_date": True}, 1),
    ("subscriptions", {"cancel_at_next_billing_date": False}, 0), ("subscriptions", {"product_id": "pdt_a"}, 1),
    ("subscriptions", {"locale": "fr", "customer_id": "cus_mai"}, 1),
    ("license_keys", {}, 1), ("license_keys", {"status": "disabled"}, 1), ("license_keys", {"status": "active"}, 0),
    ("license_keys", {"source": "import"}, 1), ("license_keys", {"source": "auto"}, 0),
    ("license_keys", {"product_id": "pdt_a", "customer_id": "cus_mai"}, 1),
]  # fmt: skip


async def test_every_list_with_every_filter(client: AsyncDodoPayments, mai: str) -> None:
    for resource, query, number in LISTS:
        page = await getattr(client, resource).list(**query)
        assert len(page.items) == number, (resource, query)
    items = (await client.payments.list()).items
    assert [one.payment_id for one in items] == [f"pay_{mai}_2", f"pay_{mai}"], "newest first"
    assert (items[1].refund_status, items[1].dispute_status) == ("full", "dispute_won")
    assert (items[0].refund_status, items[0].dispute_status) == (None, None)


Retrieve = Callable[[AsyncDodoPayments], Awaitable[Any]]
RETRIEVED: list[Retrieve] = [
    lambda client: client.payments.retrieve("pay_cus_mai"),
    lambda client: client.payments.retrieve_line_items("pay_cus_mai"),
    lambda client: client.refunds.retrieve("ref_cus_mai"),
    lambda client: client.disputes.retrieve("dp_cus_mai"),
    lambda client: client.subscriptions.retrieve("sub_cus_mai"),
    lambda client: client.license_keys.retrieve("lic_cus_mai"),
    lambda client: client.license_key_instances.retrieve("lki_cus_mai_1"),
]


async def test_another_tenants_are_not_found(
    client: AsyncDodoPayments, stranger: AsyncDodoPayments, mai: str
) -> None:
    for retrieve in RETRIEVED:
        await retrieve(client)
        with pytest.raises(dodopayments.NotFoundError):
            await retrieve(stranger)
    for resource in (
        "payments",
        "refunds",
        "disputes",
        "subscriptions",
        "license_keys",
        "license_key_instances",
    ):
        assert (await getattr(stranger, resource).list()).items == []


async def test_a_payment_told_of_two_customers_belongs_to_whom_it_was_told_of_last(
    business: Business, client: AsyncDodoPayments
) -> None:
    for customer in ("cus_a", "cus_b", "cus_c"):
        business.customer(customer)
    business.told("cus_a", upstream.payment(1, "pay_1"))
    business.told("cus_b", upstream.payment(3, "pay_1", "failed"))
    business.told("cus_c", upstream.payment(2, "pay_1"))
    business.apply()
    assert (await client.payments.retrieve("pay_1")).customer.customer_id == "cus_b"
    listed = (await client.payments.list()).items
    assert [(one.customer.customer_id, one.status) for one in listed] == [("cus_b", "failed")]
    assert (await client.payments.list(customer_id="cus_a")).items == []


async def test_of_an_erased_customer_the_money_is_left(business: Business, client: AsyncDodoPayments) -> None:
    business.customer("cus_mai")
    business.told("cus_mai", *upstream.business("cus_mai"))
    with psycopg.connect(business.views.keys_dsn) as connection:
        connection.execute("DELETE FROM data_keys")
    business.apply()
    found = await client.payments.retrieve("pay_cus_mai")
    assert (found.total_amount, found.currency, found.refund_status) == (1_100, "USD", "full")
    assert (found.customer.name, found.billing.city, found.card_last_four) == ("", None, None)
    assert (await client.license_keys.retrieve("lic_cus_mai")).key == ""
    assert (await client.license_key_instances.list()).items == []
    for retrieve in RETRIEVED[:-1]:
        await retrieve(client)
