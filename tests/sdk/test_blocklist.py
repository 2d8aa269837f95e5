"""The blocklist of customers by the SDK, which checks every answer against its own types."""

from datetime import UTC, datetime

import dodopayments
import pytest
from dodopayments import AsyncDodoPayments

from tests.unit.api.fakes import Api


async def test_a_customer_is_blocked_and_unblocked(client: AsyncDodoPayments) -> None:
    customer = await client.customers.create(email="ana@example.com", name="Ana")
    entries = client.blocklist.customers
    entry = await entries.create(customer_id=customer.customer_id, reason="fraud", source="customer_page")
    assert (entry.customer_id, entry.customer_email, entry.customer_name) == (
        customer.customer_id, "ana@example.com", "Ana",
    )  # fmt: skip
    assert (entry.identifier, entry.source, entry.reason) == (customer.customer_id, "api", "fraud")
    assert (entry.subscriptions_swept, entry.remaining_subscription_ids) == (True, [])
    assert (await entries.retrieve(entry.id)).id == entry.id
    shown = await client.customers.retrieve(customer.customer_id)
    assert (shown.blocked_at, shown.blocklist_entry_id) == (entry.created_at, entry.id)
    page = await entries.list(
        created_at_gte=datetime(2020, 1, 1, tzinfo=UTC),
        created_at_lte=datetime(2030, 1, 1, tzinfo=UTC),
        identifier="ANA@",
        page_number=0,
        page_size=100,
    )
    assert [one.id for one in page.items] == [entry.id]
    with pytest.raises(dodopayments.ConflictError) as raised:
        await client.customers.wallets.ledger_entries.create(
            customer.customer_id, amount=1, currency="USD", entry_type="debit"
        )
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["code"] == "CUSTOMER_BLOCKED"
    assert (await entries.delete(entry.id)) is None  # type: ignore[func-returns-value]
    assert (await entries.retrieve(entry.id)).unblocked_at is not None
    assert (await client.customers.retrieve(customer.customer_id)).blocked_at is None
    assert (await entries.list()).items == []


async def test_a_customer_is_blocked_by_his_address(client: AsyncDodoPayments) -> None:
    customer = await client.customers.create(email="ana@example.com", name="Ana")
    entry = await client.blocklist.customers.create(email="Ana@Example.com")
    assert (entry.customer_id, entry.identifier) == (customer.customer_id, "Ana@Example.com")
    again = await client.blocklist.customers.create(customer_id=customer.customer_id)
    assert (again.id, again.created_at, again.identifier) == (entry.id, entry.created_at, "Ana@Example.com")


async def test_a_refused_debit_is_not_repeated(api: Api, client: AsyncDodoPayments) -> None:
    customer = await client.customers.create(email="ana@example.com", name="Ana")
    await client.blocklist.customers.create(customer_id=customer.customer_id)
    api.ledger.commands.clear()
    with pytest.raises(dodopayments.ConflictError):
        await client.customers.wallets.ledger_entries.create(
            customer.customer_id, amount=1, currency="USD", entry_type="debit"
        )
    assert len(api.ledger.commands) == 1


async def test_notes_are_not_kept(client: AsyncDodoPayments) -> None:
    with pytest.raises(dodopayments.NotFoundError):
        await client.blocklist.customers.notes.create("blk_" + "0" * 21, note="n")
