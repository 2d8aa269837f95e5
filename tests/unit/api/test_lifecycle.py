"""Block, unblock and close under `/v1` and by the blocklist, over a ledger in memory."""

from datetime import UTC, datetime

import httpx
import pytest
from msgspec import UNSET

from events.codec import decode_command, encode_command
from events.commands import BlockCustomer, CloseCustomer, EraseCustomer, UnblockCustomer
from services.api.foreign_ports import Person, Told
from services.api.routes.blocklist import LIVING_SHOWN_MAX
from tests.unit.api.fakes import TENANT, Api

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


async def enter(client: httpx.AsyncClient, customer: str, amount: int, kind: str) -> httpx.Response:
    body = {"amount": amount, "currency": "USD", "entry_type": kind}
    return await client.post(f"/customers/{customer}/wallets/ledger-entries", json=body)


async def blocked(client: httpx.AsyncClient, customer: str, **body: str) -> httpx.Response:
    return await client.post("/blocklist/customers", json={"customer_id": customer, **body})


async def test_a_blocked_customer_is_told_so_until_unblocked(
    client: httpx.AsyncClient, customer: str
) -> None:
    await enter(client, customer, 5, "credit")
    answer = await client.post(f"/v1/customers/{customer}/block", json={"reason": "fraud"})
    block = answer.json()
    assert (answer.status_code, block["customer_id"], block["status"]) == (200, customer, "blocked")
    assert answer.headers["ledger-applied"] == "true"
    debit = await enter(client, customer, 1, "debit")
    assert (debit.status_code, debit.json()["code"]) == (409, "CUSTOMER_BLOCKED")
    assert debit.headers["x-should-retry"] == "false"
    assert debit.headers["ledger-position"]
    assert (await enter(client, customer, 1, "credit")).status_code == 200
    shown = (await client.get(f"/customers/{customer}")).json()
    assert (shown["blocked_at"], shown["blocklist_entry_id"]) == (
        block["blocked_at"],
        block["blocklist_entry_id"],
    )
    [listed] = (await client.get("/customers")).json()["items"]
    assert (listed["blocked_at"], listed["blocklist_entry_id"]) == (None, None)
    answer = await client.post(f"/v1/customers/{customer}/unblock")
    assert answer.json() == {
        "customer_id": customer,
        "status": "active",
        "blocked_at": None,
        "blocklist_entry_id": None,
        "closed_at": None,
        "erased_at": None,
    }
    assert (await enter(client, customer, 6, "debit")).status_code == 200
    assert (await client.get(f"/customers/{customer}")).json()["blocked_at"] is None


async def test_blocking_and_unblocking_twice_is_a_success(client: httpx.AsyncClient, customer: str) -> None:
    path = f"/v1/customers/{customer}"
    first, second = [(await client.post(f"{path}/block")).json() for _ in range(2)]
    assert first == second
    for _ in range(2):
        assert (await client.post(f"{path}/unblock")).json()["status"] == "active"
    third = (await client.post(f"{path}/block")).json()
    assert third["blocklist_entry_id"] != first["blocklist_entry_id"]


async def test_a_customer_with_money_is_not_closed_and_a_closed_one_is_done_with(
    client: httpx.AsyncClient, customer: str
) -> None:
    await enter(client, customer, 5, "credit")
    answer = await client.post(f"/v1/customers/{customer}/close")
    assert (answer.status_code, answer.json()["code"]) == (409, "WALLET_NOT_EMPTY")
    assert answer.headers["x-should-retry"] == "false"
    await enter(client, customer, 5, "debit")
    answer = await client.post(f"/v1/customers/{customer}/close", json={"reason": "moved away"})
    assert (answer.status_code, answer.json()["status"]) == (200, "closed")
    assert answer.json()["closed_at"]
    refused = [
        await enter(client, customer, 5, "credit"),
        await client.patch(f"/customers/{customer}", json={"name": "B"}),
        await blocked(client, customer),
        *[await client.post(f"/v1/customers/{customer}/{verb}") for verb in ("block", "unblock", "close")],
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(409, "CUSTOMER_CLOSED")}
    assert (await client.get(f"/customers/{customer}")).status_code == 200


ADMIN = {"authorization": "Bearer wl_test_admin"}


async def test_a_closed_customer_is_erased_once_by_a_key_that_may(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    path = f"/v1/customers/{customer}/erase"
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["message"]) == (401, "The API key has no scope admin")
    answer = await client.post(path, headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "CUSTOMER_NOT_CLOSED")
    await client.post(f"/v1/customers/{customer}/close")
    asked = ADMIN | {"idempotency-key": "k"}
    answer = await client.post(path, headers=asked, content=b"a body is not read")
    erased = answer.json()
    assert (answer.status_code, erased["customer_id"], erased["status"]) == (200, customer, "closed")
    assert answer.headers["ledger-applied"] == "true"
    assert decode_command(encode_command(api.ledger.commands[-1]))[1] == EraseCustomer()
    again = await client.post(path, headers=asked)
    assert again.json() == erased
    answer = await client.post(path, headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "CUSTOMER_ERASED")
    shown = (await client.get(f"/customers/{customer}")).json()
    assert (shown["name"], shown["email"], shown["phone_number"], shown["metadata"]) == ("", "", None, {})


@pytest.mark.parametrize(
    ("verb", "ask"), [("block", BlockCustomer), ("unblock", UnblockCustomer), ("close", CloseCustomer)]
)
async def test_what_is_asked_of_the_ledger(
    api: Api, client: httpx.AsyncClient, customer: str, verb: str, ask: type[BlockCustomer]
) -> None:
    path, key = f"/v1/customers/{customer}/{verb}", {"idempotency-key": "k"}
    await client.post(path, json={"reason": "why"}, headers=key)
    await client.post(path, json={"reason": None})
    await client.post(path, json={})
    await client.post(path, headers={"content-type": "application/json"})
    sent = [decode_command(encode_command(command))[1] for command in api.ledger.commands[1:]]
    assert sent == [ask(reason="why"), ask(), ask(), ask()]
    assert [command.idempotencykey for command in api.ledger.commands[1:]] == ["k", UNSET, UNSET, UNSET]


@pytest.mark.parametrize("verb", ["block", "unblock", "close"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"reason": 5}', 422, "INVALID_REQUEST_BODY"),
        (b'{"reason": "' + b"x" * 1025 + b'"}', 422, "INVALID_REQUEST_BODY"),
        (b"[]", 422, "INVALID_REQUEST_BODY"),
        (b"no", 422, "INVALID_REQUEST_BODY"),
    ],
)
async def test_wrong_bodies(
    api: Api, client: httpx.AsyncClient, customer: str, verb: str, body: bytes, status: int, code: str
) -> None:
    before = len(api.ledger.commands)
    answer = await client.post(f"/v1/customers/{customer}/{verb}", content=body)
    assert (answer.status_code, answer.json()["code"], len(api.ledger.commands)) == (status, code, before)


@pytest.mark.parametrize("secret", ["wl_test_other", "wl_test_reader"])
async def test_another_business_and_a_reader_change_nothing(
    api: Api, client: httpx.AsyncClient, customer: str, secret: str
) -> None:
    entry = (await blocked(client, customer)).json()["id"]
    status = 401 if secret == "wl_test_reader" else 404
    async with api.client(secret) as other:
        answers = [
            await other.post(f"/v1/customers/{customer}/{verb}") for verb in ("block", "unblock", "close")
        ]
        answers += [await blocked(other, customer), await other.delete(f"/blocklist/customers/{entry}")]
        answers += [await other.post("/blocklist/customers", json={"email": "ana@example.com"})]
        assert {answer.status_code for answer in answers} == {status}
        if status == 404:
            assert (await other.get(f"/blocklist/customers/{entry}")).status_code == 404
            assert (await other.get("/blocklist/customers")).json() == {"items": []}
    assert (await client.get(f"/customers/{customer}")).json()["blocklist_entry_id"] == entry


# --- the blocklist ---


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "INVALID_REQUEST_PARAMETERS"),
        ({"customer_id": "cus_1", "email": "e"}, 422, "INVALID_REQUEST_PARAMETERS"),
        ({"customer_id": "cus/1"}, 422, "INVALID_REQUEST_BODY"),
        ({"customer_id": "cus_1", "source": "space"}, 422, "INVALID_REQUEST_BODY"),
        ({"email": "nobody@example.com"}, 404, "NOT_FOUND"),
        ({"email": ""}, 422, "INVALID_REQUEST_BODY"),
        ({"customer_id": "cus_no"}, 404, "NOT_FOUND"),
    ],
)
async def test_an_entry_names_one_customer(
    client: httpx.AsyncClient, body: dict[str, str], status: int, code: str
) -> None:
    answer = await client.post("/blocklist/customers", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_key_goes_with_an_id_not_with_an_address(client: httpx.AsyncClient, customer: str) -> None:
    """Repeated, the address may be another person's."""
    for body, status in (({"email": "ana@example.com"}, 422), ({"customer_id": customer}, 200)):
        answer = await client.post("/blocklist/customers", json=body, headers={"idempotency-key": "k"})
        assert answer.status_code == status


async def test_an_address_of_several_customers_blocks_none_of_them(
    api: Api, client: httpx.AsyncClient
) -> None:
    for name in ("A", "B"):
        await client.post("/customers", json={"name": name, "email": "Both@example.com"})
    answer = await client.post("/blocklist/customers", json={"email": "both@EXAMPLE.com"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_PARAMETERS")
    assert api.views.tables().blocklist == {}


async def test_who_is_closed_keeps_no_address_from_being_blocked(
    client: httpx.AsyncClient, customer: str
) -> None:
    await client.post(f"/v1/customers/{customer}/close")
    again = (await client.post("/customers", json={"name": "Ana", "email": "ana@example.com"})).json()
    answer = await client.post("/blocklist/customers", json={"email": "ana@example.com"})
    assert (answer.status_code, answer.json().get("customer_id")) == (200, again["customer_id"])


async def test_a_newer_reason_is_shown_and_none_leaves_the_old_one(
    client: httpx.AsyncClient, customer: str
) -> None:
    answers = [
        (await blocked(client, customer, **body)).json() for body in ({"reason": "a"}, {}, {"reason": "b"})
    ]
    assert [entry["reason"] for entry in answers] == ["a", "a", "b"]
    assert len({(entry["id"], entry["created_at"]) for entry in answers}) == 1
    assert (await client.get(f"/blocklist/customers/{answers[0]['id']}")).json()["reason"] == "b"


async def test_an_entry_that_reads_do_not_show_yet_is_told_from_request_and_reply(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    api.views.empty, api.visibility.visible = True, False
    answer = await blocked(client, customer, reason="fraud")
    entry = answer.json()
    assert (answer.status_code, answer.headers["ledger-applied"]) == (200, "false")
    assert (entry["customer_id"], entry["identifier"], entry["reason"]) == (customer, customer, "fraud")
    api.views.empty = False
    again = (await client.get(f"/blocklist/customers/{entry['id']}")).json()
    assert (again["id"], again["created_at"]) == (entry["id"], entry["created_at"])


async def test_an_old_entry_ends_no_new_block(client: httpx.AsyncClient, customer: str) -> None:
    old = (await blocked(client, customer)).json()["id"]
    assert (await client.delete(f"/blocklist/customers/{old}")).status_code == 204
    new = (await blocked(client, customer)).json()["id"]
    answer = await client.delete(f"/blocklist/customers/{old}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["ledger-position"]
    assert (await client.get(f"/customers/{customer}")).json()["blocklist_entry_id"] == new
    ended = (await client.get(f"/blocklist/customers/{old}")).json()
    assert ended["unblocked_at"] is not None
    assert [entry["id"] for entry in (await client.get("/blocklist/customers")).json()["items"]] == [new]


@pytest.mark.parametrize("entry", ["blk_no", "blk_" + "0" * 21, "cus_1"])
async def test_what_is_no_entry_is_not_found(api: Api, client: httpx.AsyncClient, entry: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await client.request(method, f"/blocklist/customers/{entry}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert api.ledger.commands == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("identifier=ANA", 1),
        ("identifier=cus_", 1),
        ("identifier=bea", 0),
        ("page_size=0", 0),
        ("page_number=1", 0),
        ("blocked_by_email=me", 0),
    ],
)
async def test_the_list_is_filtered(client: httpx.AsyncClient, customer: str, query: str, found: int) -> None:
    await blocked(client, customer)
    assert len((await client.get(f"/blocklist/customers?{query}")).json()["items"]) == found


@pytest.mark.parametrize("query", ["page_size=101", "identifier=", "created_at_gte=yesterday"])
async def test_a_wrong_filter_is_said_to_be_wrong(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/blocklist/customers?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS")


async def test_a_block_says_which_subscriptions_go_on(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    assert (await blocked(client, customer)).json()["subscriptions_swept"] is True
    ended = [(f"sub_{number}", "cancelled") for number in range(4, LIVING_SHOWN_MAX + 5)]
    for name, status in [("sub_1", "active"), ("sub_2", "expired"), ("sub_3", "on_hold"), *ended]:
        person = Person(customer, "Ana", "ana@example.com", None, {})
        known, row = {"subscription_id": name}, {"status": status, "brand_id": None}
        api.foreign.told[TENANT, name] = Told(person, MOMENT, MOMENT, known, {}, row)
    told = (await blocked(client, customer)).json()
    assert (told["remaining_subscription_ids"], told["subscriptions_swept"]) == (["sub_3", "sub_1"], False)
    assert told["cancelled_subscription_ids"] == []


@pytest.mark.parametrize("lost", [False, True])
async def test_read_models_that_lag_do_not_say_that_no_subscription_goes_on(
    api: Api, client: httpx.AsyncClient, customer: str, lost: bool
) -> None:
    """One that they have not been told of yet may live."""
    api.visibility.visible = api.views.empty = lost
    api.views.stop()
    told = await blocked(client, customer)
    assert (told.json()["remaining_subscription_ids"], told.json()["subscriptions_swept"]) == (None, None)
    assert told.headers["ledger-applied"] == "false"


async def test_who_is_blocked_again_while_reads_lag_is_told_as_little_of_subscriptions(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    """The entry of before is there; a subscription of since then may not be."""
    assert (await blocked(client, customer)).json()["subscriptions_swept"] is True
    api.views.stop()
    api.visibility.visible = False
    told = await blocked(client, customer)
    assert (told.json()["subscriptions_swept"], told.headers["ledger-applied"]) == (None, "false")


async def test_what_was_written_is_said_though_the_read_models_are_away(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    """A 503 would say that certainly nothing was applied."""
    api.views.away = True
    changed = await client.patch(f"/customers/{customer}", json={"name": "Bea"})
    assert (changed.status_code, changed.json()["name"]) == (200, "Bea")
    assert (changed.json()["email"], changed.headers["ledger-applied"]) == ("", "false"), (
        "not passed off as all"
    )
    hasty = {"prefer": "respond-async"}
    changed = await client.patch(f"/customers/{customer}", json={"name": "Bea"}, headers=hasty)
    assert changed.headers["ledger-applied"] == "false"
    block = await blocked(client, customer)
    assert (block.status_code, block.json()["customer_id"]) == (200, customer)
    assert (block.json()["customer_name"], block.headers["ledger-applied"]) == ("", "false")
    assert (await client.get(f"/customers/{customer}")).status_code == 503
    api.views.away = False
    shown = (await client.get(f"/customers/{customer}")).json()
    assert (shown["name"], shown["blocklist_entry_id"]) == ("Bea", block.json()["id"])
