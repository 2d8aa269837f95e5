"""Writes that look something up in the read models first: with a `Ledger-Position` they believe nothing older."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.api.auth import Caller
from services.api.documents.operation import AT_LEAST
from services.api.documents.operations import OPERATIONS
from services.api.foreign_ports import Person, Told
from services.api.keys import Scope, secret_hash
from tests.unit.api.fakes import TENANT, Api

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
ENTRY = "blk_" + "0" * 21
WRITES = [
    ("POST", "/blocklist/customers", {"email": "ana@example.com"}),
    ("DELETE", f"/blocklist/customers/{ENTRY}", None),
    ("POST", "/refunds", {"payment_id": "pay_1"}),
    ("POST", "/v1/refunds/to-wallet", {"payment_id": "pay_1"}),
    ("PATCH", "/subscriptions/sub_1", {"status": "cancelled"}),
]


@pytest.fixture
async def anyone(api: Api, customer: str) -> httpx.AsyncClient:
    """With a key that may do everything; a payment and a subscription are known as of sequence 1."""
    person = Person(customer, "Ana", "ana@example.com", None, {})
    for name, kind in (("pay_1", "payment_id"), ("sub_1", "subscription_id")):
        row = {"currency": "USD", "brand_id": None, "status": "active"}
        api.foreign.told[TENANT, name] = Told(person, MOMENT, MOMENT, {kind: name}, {}, row)
    api.keys[secret_hash("wl_test_any")] = Caller(
        "key_any", TENANT, frozenset({"read", "write", "refund"}), float("inf")
    )
    api.ledger.commands.clear()
    return api.client("wl_test_any")


def code(answer: httpx.Response) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json()["code"], answer.headers.get("x-should-retry")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_what_is_not_there_yet_is_waited_for_and_nothing_is_applied(
    api: Api, anyone: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    async def asked(**headers: str) -> tuple[int, str, str | None]:
        every = {"ledger-position": "1:7"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return code(await anyone.request(method, path, json=body, headers=every))

    api.visibility.visible = False
    assert await asked() == (503, "NOT_YET_VISIBLE", "true")
    assert api.visibility.waits[-1] == (1, 7, 0.5)
    api.visibility.visible, api.visibility.confirmed = True, False
    assert await asked() == (503, "NOT_YET_VISIBLE", "true"), "it was heard, and the tables do not have it"
    assert await asked(x_stainless_retry_count="0") == (503, "NOT_YET_VISIBLE", "false")
    assert await asked(x_stainless_retry_count="1") == (504, "OUTCOME_UNKNOWN", "false")
    assert (await asked(ledger_position="x"))[:2] == (422, "INVALID_REQUEST_PARAMETERS")
    assert api.ledger.commands == []


def test_the_document_says_which_they_are() -> None:
    writes = [operation for operation in OPERATIONS if operation.scope not in (None, Scope.READ)]
    assert {
        operation.identifier
        for operation in writes
        if AT_LEAST in operation.parameters and (503, "NOT_YET_VISIBLE") in operation.errors
    } == {
        "createBlocklistEntry",
        "deleteBlocklistEntry",
        "createRefund",
        "refundToWallet",
        "updateSubscription",
    }


async def test_who_had_an_address_before_is_not_blocked_for_who_has_it_now(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    api.views.stop()
    api.visibility.visible = False
    await client.patch(f"/customers/{customer}", json={"email": "moved@example.com"})
    taken = await client.post("/customers", json={"name": "Bea", "email": "ana@example.com"})
    headers = {"ledger-position": taken.headers["ledger-position"]}
    answer = await client.post("/blocklist/customers", json={"email": "ana@example.com"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")


async def test_a_block_by_id_looks_nothing_up_and_waits_for_nothing(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    """Blocking matters most while things are bad."""
    api.visibility.visible = False
    headers = {"ledger-position": "1:7", "prefer": "respond-async"}
    answer = await client.post("/blocklist/customers", json={"customer_id": customer}, headers=headers)
    assert answer.status_code == 200
    assert api.ledger.commands[-1].subject == customer
    asked = len(api.ledger.commands)
    headers["ledger-position"] = "??dNj"
    answer = await client.post("/blocklist/customers", json={"customer_id": customer}, headers=headers)
    assert (answer.status_code, len(api.ledger.commands)) == (422, asked)


@pytest.mark.parametrize(("method", "path", "body"), WRITES[2:])
async def test_what_was_found_is_as_new_as_was_asked_for(
    api: Api, anyone: httpx.AsyncClient, customer: str, method: str, path: str, body: Any
) -> None:
    """The server of the read models may have come back older between the look at its checkpoints and the read."""
    shard = (await anyone.get(f"/customers/{customer}")).headers["ledger-position"].partition(":")[0]
    answer = await anyone.request(method, path, json=body, headers={"ledger-position": f"{shard}:2"})
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")
    assert api.ledger.commands == []


async def test_an_entry_that_was_found_is_as_new_as_was_asked_for(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    block = await client.post("/blocklist/customers", json={"customer_id": customer})
    shard, _, sequence = block.headers["ledger-position"].partition(":")
    path = f"/blocklist/customers/{block.json()['id']}"
    answer = await client.delete(path, headers={"ledger-position": f"{shard}:{int(sequence) + 1}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_YET_VISIBLE")
    answer = await client.delete(path, headers={"ledger-position": f"{shard}:{sequence}"})
    assert answer.status_code == 204
