"""Every route in scope, by the SDK; and the answers its error classes are made of."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import dodopayments
import pytest
from dodopayments import AsyncDodoPayments
from dodopayments.types import Customer

from events.replies import Outcome, Reply
from services.api.ports import NotHandedOver, OutcomeUnknown
from tests.sdk.conftest import sdk
from tests.unit.api.fakes import Api, make_api


@pytest.fixture
async def customer(client: AsyncDodoPayments) -> Customer:
    return await client.customers.create(email="email", name="name")


async def test_customers(client: AsyncDodoPayments) -> None:
    made = await client.customers.create(
        email="ana@example.com",
        name="Ana 🎉",
        metadata={"tier": "gold", "vip": True, "score": 1.5},
        phone_number="+84",
        preferred_locale="fr",
    )
    assert (made.name, made.email, made.phone_number, made.preferred_locale) == (
        "Ana 🎉", "ana@example.com", "+84", "fr",
    )  # fmt: skip
    assert made.metadata == {"tier": "gold", "vip": True, "score": 1.5}
    assert await client.customers.retrieve(made.customer_id) == made
    changed = await client.customers.update(
        made.customer_id, name="Bea", email=None, metadata=None, phone_number=None, preferred_locale=None
    )
    assert (changed.name, changed.email, changed.metadata) == ("Bea", "ana@example.com", {})
    assert (changed.phone_number, changed.preferred_locale) == (None, None)


async def test_customers_are_listed(client: AsyncDodoPayments, customer: Customer) -> None:
    page = await client.customers.list(
        created_at_gte=datetime(2020, 1, 1, tzinfo=UTC),
        created_at_lte=datetime(2030, 1, 1, tzinfo=UTC),
        email="email",
        name="NAM",
        page_number=0,
        page_size=100,
    )
    assert page.items == [customer]
    assert (await client.customers.list(page_number=0, page_size=0)).items == []


async def test_wallets(client: AsyncDodoPayments, customer: Customer) -> None:
    entries = client.customers.wallets.ledger_entries
    wallet = await entries.create(
        customer.customer_id,
        amount=500,
        currency="USD",
        entry_type="credit",
        idempotency_key="k",
        reason="gift",
    )
    again = await entries.create(
        customer.customer_id,
        amount=500,
        currency="USD",
        entry_type="credit",
        idempotency_key="k",
        reason="gift",
    )
    assert wallet == again
    assert wallet.balance == 500
    after = await entries.create(customer.customer_id, amount=200, currency="USD", entry_type="debit")
    assert after.balance == 300
    wallets = await client.customers.wallets.list(customer.customer_id)
    assert [(one.currency, one.balance) for one in wallets.items] == [("USD", 300), ("INR", 0)]
    assert wallets.total_balance_usd == 300
    page = await entries.list(customer.customer_id, currency="USD", page_number=0, page_size=100)
    assert [(one.is_credit, one.amount, one.after_balance) for one in page.items] == [
        (False, 200, 300),
        (True, 500, 500),
    ]
    assert {one.event_type for one in page.items} == {"merchant_adjustment"}


async def test_iterating_misses_the_second_page_unless_pages_are_large(client: AsyncDodoPayments) -> None:
    """A fault of the SDK that a server cannot repair; docs/api.md tells how to avoid it."""
    for number in range(25):
        await client.customers.create(email="e", name=f"{number}")
    assert len([one async for one in client.customers.list()]) == 15
    assert len([one async for one in client.customers.list(page_size=100)]) == 25


async def test_positions_are_in_the_raw_answer(client: AsyncDodoPayments, customer: Customer) -> None:
    raw = await client.customers.wallets.ledger_entries.with_raw_response.create(
        customer.customer_id, amount=1, currency="USD", entry_type="credit"
    )
    position = raw.headers["ledger-position"]
    read = await client.customers.wallets.with_raw_response.list(
        customer.customer_id, extra_headers={"Ledger-Position": position}
    )
    assert read.headers["ledger-position"] == position


Call = Callable[[AsyncDodoPayments, str], Awaitable[Any]]


def debit(amount: int = 1, currency: Any = "USD", key: str | None = None) -> Call:
    return lambda client, customer: client.customers.wallets.ledger_entries.create(
        customer, amount=amount, currency=currency, entry_type="debit", idempotency_key=key
    )


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        (debit(), dodopayments.BadRequestError, "INSUFFICIENT_WALLET_FUNDS"),
        (debit(amount=0), dodopayments.UnprocessableEntityError, "INVALID_REQUEST_BODY"),
        (debit(currency="AED"), dodopayments.UnprocessableEntityError, "UNSUPPORTED_CURRENCY"),
        (lambda client, _: client.customers.retrieve("cus_no"), dodopayments.NotFoundError, "NOT_FOUND"),
        (lambda client, _: client.customers.update("cus_no", name="x"), dodopayments.NotFoundError, "NOT_FOUND"),
        (lambda client, _: client.customers.wallets.list("cus_no"), dodopayments.NotFoundError, "NOT_FOUND"),
        (lambda client, _: client.customers.list(page_size=101), dodopayments.UnprocessableEntityError,
         "INVALID_QUERY_PARAMS"),
        (lambda client, _: client.payouts.list(), dodopayments.NotFoundError, "NOT_FOUND"),
        (lambda client, one: client.customers.customer_portal.create(one), dodopayments.NotFoundError, "NOT_FOUND"),
        (lambda client, _: client.products.list(), dodopayments.NotFoundError, "NOT_FOUND"),
    ],
)  # fmt: skip
async def test_errors(
    client: AsyncDodoPayments,
    customer: Customer,
    call: Call,
    error: type[dodopayments.APIStatusError],
    code: str,
) -> None:
    with pytest.raises(error) as raised:
        await call(client, customer.customer_id)
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["code"] == code
    assert raised.value.body["message"]


async def test_the_sdk_waits_as_long_as_it_is_told() -> None:
    """429 with Retry-After: the second request goes out when there is room again, and not before."""
    api = make_api(rate_limit_per_second=1, rate_limit_burst=1)
    async with sdk(api) as client, sdk(api, retries=0) as impatient:
        await client.customers.list()
        with pytest.raises(dodopayments.RateLimitError):
            await impatient.customers.list()
        started = monotonic()
        assert (await client.customers.list()).items == []
        assert 0.9 < monotonic() - started < 5


async def test_no_key_no_entry(api: Api) -> None:
    async with sdk(api, "wl_test_nobody") as client:
        with pytest.raises(dodopayments.AuthenticationError):
            await client.customers.list()
    async with sdk(api, "wl_test_reader") as client:
        with pytest.raises(dodopayments.AuthenticationError):
            await client.customers.create(email="e", name="n")


@pytest.mark.parametrize(
    ("planned", "key", "error", "sent"),
    [
        pytest.param(NotHandedOver(), "k", None, 2, id="503 with a key is repeated"),
        pytest.param(NotHandedOver(), None, dodopayments.InternalServerError, 1,
                     id="503 without a key is not"),
        pytest.param(Reply(correlation="", outcome=Outcome.LATE), "k", None, 2, id="503 of the ledger with a key is"),
        pytest.param(Reply(correlation="", outcome=Outcome.LATE), None, dodopayments.InternalServerError, 1,
                     id="503 of the ledger without a key is not"),
        pytest.param(OutcomeUnknown(), "k", None, 2, id="504 with a key is repeated"),
        pytest.param(OutcomeUnknown(), None, dodopayments.InternalServerError, 1, id="504 without a key is not"),
        pytest.param(Reply(correlation="", outcome=Outcome.KEY_REUSED), "k", dodopayments.ConflictError, 1,
                     id="409 is not"),
        pytest.param(Reply(correlation="", outcome=Outcome.FAILED), "k", dodopayments.InternalServerError, 1,
                     id="500 is not"),
    ],
)  # fmt: skip
async def test_the_sdk_repeats_what_is_safe_to_repeat(
    api: Api,
    client: AsyncDodoPayments,
    customer: Customer,
    planned: Reply | NotHandedOver | OutcomeUnknown,
    key: str | None,
    error: type[Exception] | None,
    sent: int,
) -> None:
    await client.customers.wallets.ledger_entries.create(
        customer.customer_id, amount=5, currency="USD", entry_type="credit"
    )
    api.ledger.commands.clear()
    api.ledger.next = planned
    if error is None:
        assert (await debit(key=key)(client, customer.customer_id)).balance == 4
    else:
        with pytest.raises(error):
            await debit(key=key)(client, customer.customer_id)
    assert [command.attempt for command in api.ledger.commands] == list(range(sent))
