"""The tab of a customer: its words for people, a table; and its pages."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.api import tab
from services.api.foreign_ports import Transaction
from tests.unit.api.fakes import TENANT, Api


def transaction(status: str = "succeeded", refunds: tuple[int, ...] = (), **more: Any) -> Transaction:
    """Of 1,000; `refunds`: those that succeeded."""
    disputed = more.pop("disputed", None)
    now = datetime.now(UTC)
    return Transaction("pay_1", now, status, "USD", 1_000, sum(refunds), len(refunds), disputed, more)


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (transaction("succeeded"), "Successful"),
        (transaction("partially_captured"), "Successful"),
        (transaction("failed"), "Failed"),
        (transaction("cancelled"), "Failed"),
        (transaction("processing"), "Pending"),
        (transaction("requires_customer_action"), "Pending"),
        (transaction("partially_captured_and_capturable"), "Pending"),
        (transaction("a_word_of_tomorrow"), "Pending"),
        (transaction(refunds=(400,)), "Partly refunded"),
        (transaction(refunds=(400, 599)), "Partly refunded"),
        (transaction(refunds=(400, 600)), "Refunded"),
        (transaction(refunds=(0,)), "Partly refunded"),
        (transaction(disputed="dispute_opened"), "Disputed"),
        (transaction(disputed="dispute_challenged", refunds=(1_000,)), "Disputed"),
        (transaction(disputed="dispute_lost"), "Disputed"),
        (transaction(disputed="dispute_accepted"), "Disputed"),
        (transaction(disputed="dispute_expired"), "Disputed"),
        (transaction(disputed="dispute_won"), "Successful"),
        (transaction(disputed="dispute_cancelled", refunds=(1,)), "Partly refunded"),
    ],
)
def test_status(one: Transaction, word: str) -> None:
    assert tab.status(one) == word


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ({}, "one_time"),
        ({"subscription_id": "sub_1"}, "subscription"),
        ({"charge_type": "new"}, "subscription"),
    ],
)
def test_pricing_type(known: dict[str, Any], word: str) -> None:
    assert tab.pricing_type(transaction(**known)) == word


@pytest.mark.parametrize(
    ("method", "kind", "word"),
    [
        ("card", "credit", "Card"),
        ("card", None, "Card"),
        ("upi", "upi_collect", "UPI"),
        (None, "upi_intent", "UPI"),
        ("wallet", "apple_pay", "Apple Pay"),
        ("wallet", "google_pay", "Google Pay"),
        ("wallet", None, "Wallet"),
        ("bank_redirect", "ideal", "iDEAL"),
        ("bank_transfer", None, "Bank transfer"),
        ("real_time_payment", "viet_qr", "VietQR"),
        (None, None, None),
    ],
)
def test_method(method: str | None, kind: str | None, word: str | None) -> None:
    assert tab.method(transaction(payment_method=method, payment_method_type=kind)) == word


async def test_pages_end_where_nothing_is_left(api: Api, client: httpx.AsyncClient, customer: str) -> None:
    one = transaction(refunds=(400,), payment_method="card")
    api.foreign.transactions_found = [one, one._replace(payment_id="pay_2")]
    path = f"/v1/customers/{customer}/transactions"
    first = (await client.get(f"{path}?limit=1")).json()
    assert first["items"] == [
        {
            "payment_id": "pay_1", "status": "Partly refunded", "amount": 1_000, "refunded_amount": 400, "currency": "USD",
            "created_at": one.created_at.isoformat().replace("+00:00", "Z"), "pricing_type": "one_time",
            "payment_method": "Card",
        }
    ]  # fmt: skip
    again = await client.get(f"{path}?limit=1&cursor={first['next_cursor']}")
    assert api.foreign.asked[-1] == (TENANT, (customer, 1, (one.created_at, "pay_1")))
    assert again.status_code == 200
    assert (await client.get(f"{path}?limit=2")).json()["next_cursor"] is None


async def test_pages_go_on_behind_what_is_older_than_1970(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    """Upstream says how old its objects are."""
    one = transaction()._replace(created_at=datetime(1, 1, 1, tzinfo=UTC))
    api.foreign.transactions_found = [one, one]
    path = f"/v1/customers/{customer}/transactions?limit=1"
    again = await client.get(f"{path}&cursor={(await client.get(path)).json()['next_cursor']}")
    assert (again.status_code, api.foreign.asked[-1][1][2]) == (200, (one.created_at, "pay_1"))


async def test_wrong_questions_are_refused(client: httpx.AsyncClient, customer: str) -> None:
    path = f"/v1/customers/{customer}/transactions"
    for query in ("limit=0", "limit=101", "cursor=x", "currency=USD", "cursor=", "limit=1&limit=2"):
        assert (await client.get(f"{path}?{query}")).status_code == 422, query
    assert (await client.get("/v1/customers/cus_no/transactions")).status_code == 404
