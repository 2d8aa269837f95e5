"""`/customers` over a ledger in memory."""

import httpx
import pytest
from msgspec import UNSET

from events.codec import decode_command, encode_command
from events.commands import ChangeProfile
from tests.unit.api.fakes import TENANT, Api

SHAPE = {
    "blocked_at", "blocklist_entry_id", "business_id", "created_at", "customer_id", "email", "metadata", "name",
    "phone_number", "preferred_locale",
}  # fmt: skip


async def test_create_answers_what_was_sent_and_where_it_stands(api: Api, client: httpx.AsyncClient) -> None:
    sent = {
        "name": "Nguyễn Văn A 🎉",
        "email": "a@example.com",
        "metadata": {"tier": "gold", "age": 3, "vip": True, "score": 1.5},
        "phone_number": "+84 1",
        "preferred_locale": "fr",
    }
    answer = await client.post("/customers", json=sent)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == SHAPE
    assert {name: body[name] for name in sent} == sent
    assert body["business_id"] == TENANT.business_id
    assert answer.headers["ledger-position"].endswith(":1")
    assert answer.headers["ledger-applied"] == "true"


async def test_without_a_key_each_request_makes_a_customer(client: httpx.AsyncClient) -> None:
    sent = {"name": "A", "email": "email"}
    first, second = [(await client.post("/customers", json=sent)).json() for _ in range(2)]
    assert first["customer_id"] != second["customer_id"]


async def test_a_key_names_the_customer(client: httpx.AsyncClient) -> None:
    sent, key = {"name": "A", "email": "email"}, {"idempotency-key": "once"}
    first, second = [await client.post("/customers", json=sent, headers=key) for _ in range(2)]
    assert first.json() == second.json()
    assert first.headers["ledger-position"] == second.headers["ledger-position"]
    other = await client.post("/customers", json={"name": "B", "email": "email"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert other.headers["x-should-retry"] == "false"


async def test_the_same_key_of_another_business_names_another_customer(
    api: Api, client: httpx.AsyncClient
) -> None:
    sent, key = {"name": "A", "email": "email"}, {"idempotency-key": "once"}
    ours = (await client.post("/customers", json=sent, headers=key)).json()
    async with api.client("wl_test_other") as other:
        theirs = await other.post("/customers", json=sent | {"name": "B"}, headers=key)
        assert theirs.status_code == 200
        assert (await other.get("/customers")).json()["items"] == [theirs.json()]
    assert (await client.get("/customers")).json()["items"] == [ours]


async def test_retrieve_answers_the_position_that_it_is_as_of(
    client: httpx.AsyncClient, customer: str
) -> None:
    answer = await client.get(f"/customers/{customer}")
    assert answer.status_code == 200
    assert set(answer.json()) == SHAPE
    assert answer.headers["ledger-position"].endswith(":1")


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        pytest.param({"name": "B"}, ChangeProfile(name="B"), id="one field"),
        pytest.param({"name": None, "email": None}, ChangeProfile(), id="null leaves name and email"),
        pytest.param(
            {"phone_number": None}, ChangeProfile(phone_number=None), id="null clears the phone number"
        ),
        pytest.param(
            {"preferred_locale": None}, ChangeProfile(preferred_locale=None), id="null clears the locale"
        ),
        pytest.param({"metadata": None}, ChangeProfile(metadata={}), id="null empties metadata"),
        pytest.param({}, ChangeProfile(), id="nothing"),
    ],
)
async def test_update_asks_for(
    api: Api, client: httpx.AsyncClient, customer: str, sent: dict[str, object], asked: ChangeProfile
) -> None:
    answer = await client.patch(f"/customers/{customer}", json=sent)
    assert answer.status_code == 200
    assert decode_command(encode_command(api.ledger.commands[-1]))[1] == asked


async def test_update_shows_the_change_before_the_read_models_do(
    api: Api, client: httpx.AsyncClient, customer: str
) -> None:
    api.views.stop()
    api.visibility.visible = False
    answer = await client.patch(f"/customers/{customer}", json={"name": "Bea", "metadata": {"a": 1}})
    assert answer.headers["ledger-applied"] == "false"
    assert (answer.json()["name"], answer.json()["email"]) == ("Bea", "ana@example.com")

    api.views.empty = True
    answer = await client.patch(f"/customers/{customer}", json={"name": "Bea"})
    assert (answer.json()["name"], answer.json()["email"]) == ("Bea", "")
    assert answer.json()["created_at"].startswith("2026-")


async def test_a_repeated_update_shows_what_it_asked_for(client: httpx.AsyncClient, customer: str) -> None:
    path, key = f"/customers/{customer}", {"idempotency-key": "k"}
    first = await client.patch(path, json={"name": "Bea"}, headers=key)
    await client.patch(path, json={"name": "Cleo"})
    again = await client.patch(path, json={"name": "Bea"}, headers=key)
    assert again.json() == first.json()
    assert (await client.get(path)).json()["name"] == "Cleo"


async def test_list_pages_newest_first(client: httpx.AsyncClient) -> None:
    for number in range(12):
        await client.post("/customers", json={"name": f"N{number}", "email": "e"})

    async def names(query: str) -> list[str]:
        return [row["name"] for row in (await client.get(f"/customers{query}")).json()["items"]]

    assert await names("") == [f"N{number}" for number in range(11, 1, -1)]
    assert await names("?page_number=1") == ["N1", "N0"]
    assert await names("?page_size=2&page_number=2") == ["N7", "N6"]
    assert await names("?page_size=0") == []
    assert await names("?name=n1&unknown=x&unknown=y") == ["N11", "N10", "N1"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_another_business_does_not_see_him(api: Api, customer: str, method: str) -> None:
    async with api.client("wl_test_other") as other:
        answer = await other.request(
            method, f"/customers/{customer}", json={"name": "X"} if method == "PATCH" else None
        )
        assert (answer.status_code, answer.json()) == (
            404,
            {"code": "NOT_FOUND", "message": "Item not found"},
        )
        assert (await other.get("/customers")).json() == {"items": []}


async def test_metadata_has_fifty_pairs(api: Api, client: httpx.AsyncClient) -> None:
    fifty = {f"k{number}": number for number in range(50)}
    body = {"name": "A", "email": "e"}
    assert (await client.post("/customers", json={**body, "metadata": fifty})).status_code == 200
    answer = await client.post("/customers", json={**body, "metadata": {**fifty, "one": "more"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "MAXIMUM_KEYS_REACHED")
    assert len(api.ledger.commands) == 1


async def test_the_command_says_who_asks(api: Api, client: httpx.AsyncClient) -> None:
    headers = {"x-request-id": "trace-1", "x-stainless-retry-count": "2"}
    await client.post("/customers", json={"name": "A", "email": "e"}, headers=headers)
    command = api.ledger.commands[-1]
    assert (command.actor, command.correlationid, command.attempt) == ("key_all", "trace-1", 2)
    assert (command.tenant, command.idempotencykey) == (TENANT, UNSET)
