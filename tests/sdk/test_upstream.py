"""What upstream told, from events to the SDK: through projector, PostgreSQL and application; every answer is strict."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import dodopayments
import pytest
from dodopayments import AsyncDodoPayments
from msgspec import UNSET
from msgspec.structs import replace

from events.foreign import Refund
from events.ids import Tenant, derived, owner_of
from events.personal import Personal
from events.requested import RefundMadeToWallet, RefundRequested
from services.api import tab
from services.api.auth import Caller
from services.api.keys import secret_hash
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from services.keyring import KeyRing
from tests import upstream
from tests.factories import EventFactory
from tests.integration.read_models import SHARDS, Views, make_views
from tests.sdk.conftest import sdk
from tests.servers import fresh_database
from tests.unit.api.fakes import TENANT, Api, make_api
from tests.unit.projections.reading import records_of

SECRET = "wl_test_own"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of licence keys, by the SDK


class Business:
    """Events of one ledger, applied as they are told; each test is a tenant of its own."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.factory: EventFactory = views.factory()
        self.tenant = TENANT
        self._projector = views.projector()
        self._applied = 0

    def customer(self, customer_id: str, **profile: Any) -> None:
        self.factory.registered(customer_id, "Mai", "mai@example.com", tenant=self.tenant, **profile)

    def told(self, customer_id: str, *news: upstream.News) -> None:
        for one in news:
            self.factory.told(customer_id, *one, self.tenant)

    def apply(self) -> None:
        records = records_of(self.factory.records)
        self._projector.apply(records[self._applied :])
        self._applied = len(records)


@pytest.fixture(scope="module")
def ledger(postgres: str) -> Business:
    """One for all: migrating takes longer than these tests."""
    mark = secrets.token_hex(4)
    return Business(make_views(lambda name: fresh_database(postgres, f"told_{name}_{mark}")))


@pytest.fixture
def business(ledger: Business) -> Business:
    ledger.tenant = Tenant(f"bus_{secrets.token_hex(4)}", "test")
    return ledger


@pytest.fixture
async def api(business: Business) -> AsyncIterator[Api]:
    queries = PostgresQueries(business.views.dsn, SHARDS)
    await queries.open()
    made = make_api(foreign=PostgresForeign(queries, queries.searching))
    made.keys[secret_hash(SECRET)] = Caller("key_own", business.tenant, frozenset({"read"}), float("inf"))
    yield made
    await queries.close()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncDodoPayments]:
    async with sdk(api, SECRET) as made:
        yield made


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[AsyncDodoPayments]:
    """Another tenant's client."""
    async with sdk(api, "wl_test_other") as made:
        yield made


@pytest.fixture
def mai(business: Business) -> str:
    business.customer("cus_mai", phone_number="+84", metadata={"tier": "gold"})
    business.told("cus_mai", *upstream.business("cus_mai"))
    business.apply()
    return "cus_mai"


async def test_a_payment_with_all_that_became_of_it(
    business: Business, client: AsyncDodoPayments, mai: str
) -> None:
    found = await client.payments.retrieve(f"pay_{mai}")
    assert (found.status, found.total_amount, found.currency, found.tax) == ("succeeded", 1_100, "USD", 100)
    assert found.customer.to_dict() == {
        "customer_id": mai, "name": "Mai", "email": "mai@example.com", "phone_number": "+84",
        "metadata": {"tier": "gold"},
    }  # fmt: skip
    assert found.business_id == found.brand_id == business.tenant.business_id
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
        business.tenant.business_id,
    )
    assert (await client.disputes.retrieve("dispute_1")).payment_provider == "dodo"
    for page in (client.payments, client.refunds, client.disputes, client.subscriptions, client.license_keys):
        assert (await page.list()).items


async def test_line_items_are_what_can_be_given_back(business: Business, client: AsyncDodoPayments) -> None:
    business.customer("cus_1")
    settled: dict[str, Any] = {
        "settlement_currency": "INR",
        "settlement_amount": 92_401,
        "settlement_tax": 8_400,
    }
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


async def test_of_a_payment_that_is_refunded_in_another_currency_nothing_is_left(
    business: Business, client: AsyncDodoPayments
) -> None:
    """As the ledger counts it, which refuses a request for more."""
    business.told(
        "cus_1",
        upstream.payment(1, "pay_1"),
        upstream.refund(2, "ref_1", "pay_1", "pending", 1, currency="EUR"),
    )
    business.apply()
    [item] = (await client.payments.retrieve_line_items("pay_1")).items
    assert item.refundable_amount == 0


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


async def test_a_refund_that_was_asked_for_is_pending_until_upstream_answers(
    business: Business, client: AsyncDodoPayments
) -> None:
    request, own = derived("ref_", "1"), derived("ref_", "2")
    business.customer("cus_1")
    business.told("cus_1", upstream.payment(9, "pay_1"))
    asked = RefundRequested(
        request_id=request, payment_id="pay_1", currency="USD", amount=300, is_partial=True
    )
    said = Personal(reason="torn", metadata={"ticket": 7})
    business.factory.append("cus_1", replace(asked, personal=said), business.tenant, "payment-pay_1")
    made = Refund(refund_id=own, payment_id="pay_1", status="succeeded", amount=100, currency="USD")
    business.factory.append("cus_1", RefundMadeToWallet(refund=made), business.tenant, "payment-pay_1")
    business.apply()
    found = await client.refunds.retrieve(request)
    assert (found.status, found.amount, found.is_partial, found.reason) == ("pending", 300, True, "torn")
    assert found.metadata == {"ticket": 7}
    assert {one.refund_id for one in (await client.payments.retrieve("pay_1")).refunds} == {request, own}
    [item] = (await client.payments.retrieve_line_items("pay_1")).items
    assert item.refundable_amount == 700
    business.told(
        "cus_1", upstream.refund(1, request, "pay_1", "failed", 300)
    )  # older than the payment: still an answer
    business.apply()
    assert (await client.refunds.retrieve(request)).status == "failed"
    assert (await client.payments.retrieve("pay_1")).refund_status == "partial"
    [item] = (await client.payments.retrieve_line_items("pay_1")).items
    assert item.refundable_amount == 1_000


WHEN = datetime.fromisoformat(upstream.at(0))
LISTS: list[tuple[str, dict[str, Any], int]] = [
    ("payments", {}, 2), ("payments", {"customer_id": "cus_mai"}, 2), ("payments", {"customer_id": "cus_b"}, 0),
    ("payments", {"status": "failed"}, 1), ("payments", {"status": "processing"}, 0),
    ("payments", {"currency": "USD"}, 2), ("payments", {"currency": "INR"}, 0),
    ("payments", {"product_id": "pdt_a"}, 1), ("payments", {"product_id": "pdt_b"}, 0),
    ("payments", {"subscription_id": "sub_cus_mai"}, 1), ("payments", {"subscription_id": "sub_b"}, 0),
    ("payments", {"brand_id": "of the business"}, 2), ("payments", {"brand_id": "brd_1"}, 0),
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


async def test_every_list_with_every_filter(business: Business, client: AsyncDodoPayments, mai: str) -> None:
    for resource, query, number in LISTS:
        if query.get("brand_id") == "of the business":
            query = {"brand_id": business.tenant.business_id}
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


async def test_a_licence_key_told_of_two_customers_is_activated_where_it_was_told_of_last(
    business: Business, client: AsyncDodoPayments
) -> None:
    listed = [{"id": "lki_1", "name": "laptop"}, {"id": "lki_2", "name": "phone"}]
    business.told("cus_a", upstream.licence_key(1, "lic_1", instances=listed))
    business.told("cus_b", upstream.licence_key(3, "lic_1", instances=listed[:1]))
    business.told("cus_c", upstream.licence_key(2, "lic_1", instances=listed))
    business.told("cus_c", upstream.licence_key(2, "lic_2", instances=[{"id": "lki_3"}]))
    business.apply()
    assert (await client.license_keys.retrieve("lic_1")).customer_id == "cus_b"
    assert (await client.license_key_instances.retrieve("lki_1")).license_key_id == "lic_1"
    with pytest.raises(dodopayments.NotFoundError):
        await client.license_key_instances.retrieve("lki_2")
    of_key = await client.license_key_instances.list(license_key_id="lic_1")
    assert [one.id for one in of_key.items] == ["lki_1"]
    assert {one.id for one in (await client.license_key_instances.list()).items} == {"lki_1", "lki_3"}


async def test_an_id_may_hold_what_a_path_is_made_of(business: Business, client: AsyncDodoPayments) -> None:
    for name in ("a", "a/line-items", "a/", "%2F?#"):
        business.told("cus_1", upstream.payment(1, name))
    business.apply()
    listed = {one.payment_id for one in (await client.payments.list()).items}
    assert {(await client.payments.retrieve(name)).payment_id for name in listed} == listed
    assert len(listed) == 4
    assert (await client.payments.retrieve_line_items("a/line-items")).currency == "USD"


async def test_of_an_erased_customer_the_money_is_left(business: Business, client: AsyncDodoPayments) -> None:
    business.customer("cus_mai")
    business.told("cus_mai", *upstream.business("cus_mai"))
    keys = KeyRing(business.views.keys_dsn, business.views.kek)
    keys.destroy([owner_of(business.tenant, "cus_mai")])
    business.apply()
    found = await client.payments.retrieve("pay_cus_mai")
    assert (found.total_amount, found.currency, found.refund_status) == (1_100, "USD", "full")
    assert (found.customer.name, found.billing.city, found.card_last_four) == ("", None, None)
    assert (await client.license_keys.retrieve("lic_cus_mai")).key == ""
    assert (await client.license_key_instances.list()).items == []
    for retrieve in RETRIEVED[:-1]:
        await retrieve(client)


async def test_a_customers_tab_is_paged_and_in_words(business: Business) -> None:
    business.customer("cus_1")
    business.customer("cus_2")
    for n in range(7):
        more: dict[str, Any] = {
            "payment_method": "upi",
            "created_at": upstream.at(n // 2),
        }  # some of one moment
        business.told("cus_1", upstream.payment(1, f"pay_{n}", **more))
    business.told("cus_2", upstream.payment(1, "pay_of_another"))
    business.told("cus_1", upstream.refund(2, "ref_1", "pay_0"), upstream.dispute(2, "dp_1", "pay_1"))
    business.apply()
    queries = PostgresQueries(business.views.dsn, SHARDS)
    await queries.open()
    foreign, found, after = PostgresForeign(queries, queries.searching), [], None
    while page := await foreign.transactions(business.tenant, "cus_1", 2, after):
        found += page[:2]
        after = (found[-1].created_at, found[-1].payment_id)
    await queries.close()
    assert [one.payment_id for one in found] == [f"pay_{n}" for n in range(6, -1, -1)]
    words = [(line.status, line.refunded_amount, line.payment_method) for line in map(tab.shown, found)]
    assert words[-2:] == [("Disputed", 0, "UPI"), ("Partly refunded", 100, "UPI")]
    assert {word[0] for word in words[:-2]} == {"Successful"}
