"""The webhook door: who signed says whose it is, 2xx says that Kafka has it, and a repetition does nothing."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from dodopayments import DodoPayments
from standardwebhooks import Webhook

from events.codec import micros
from services.api import remembered
from services.api.ports import ViewsUnavailable
from services.api.webhooks import door as webhooks
from services.api.webhooks.door import SecretUnreadable
from services.intake.record import NotUnderstood
from services.intake.understanding import understand
from tests.unit.api.fakes import TENANT, Api, make_api
from tests.unit.api.webhook_fakes import ENDPOINT, OLD_SECRET, OTHER_SECRET, SECRET, signed

PATH = f"/webhooks/payments/{ENDPOINT}"
DATA = {
    "payment_id": "pay_1", "currency": "USD", "total_amount": 1100, "tax": None, "business_id": "bus_one",
    "customer": {"customer_id": "cus_1", "name": "Mai", "email": "mai@example.com"},
    "metadata": {"wallet_action": "top_up"},
}  # fmt: skip
ENVELOPE = {
    "business_id": "bus_one", "type": "payment.succeeded", "timestamp": "2026-11-23T10:00:00Z", "data": DATA,
}  # fmt: skip


NOW = micros("2026-11-23T10:00:00.000000Z")


def envelope(**changes: Any) -> bytes:
    return json.dumps(ENVELOPE | changes).encode()


async def deliver(
    client: httpx.AsyncClient, body: bytes = envelope(), path: str = PATH, **how: Any
) -> httpx.Response:
    return await client.post(path, content=body, headers=signed(body, **how))


async def refused(api: Api, answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert api.topic.records == []


async def test_what_was_signed_is_published_with_its_tenant(api: Api, client: httpx.AsyncClient) -> None:
    answer = await deliver(client)
    assert (answer.status_code, answer.json()) == (200, {"status": "taken"})
    [record] = api.topic.records
    assert record["data"] == DATA
    said = understand(json.dumps(record).encode(), "", NOW)
    assert (said.tenant, said.type, said.known, said.customer) == (TENANT, "payment.succeeded", True, "cus_1")


async def test_the_same_fact_by_both_doors_is_one_fact(api: Api, client: httpx.AsyncClient) -> None:
    await deliver(client)
    [record] = api.topic.records
    by_kafka = understand(envelope(), "test", NOW)
    assert understand(json.dumps(record).encode(), "", NOW).key == by_kafka.key


async def test_a_cloud_event_is_taken_too(api: Api, client: httpx.AsyncClient) -> None:
    event = {"specversion": "1.0", "type": "payment.succeeded", "time": "2026-11-23T10:00:00Z", "data": DATA}
    assert (await deliver(client, json.dumps(event | {"businessid": "bus_one"}).encode())).status_code == 200
    said = understand(json.dumps(api.topic.records[0]).encode(), "", NOW)
    assert (said.tenant, said.type) == (TENANT, "payment.succeeded")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(envelope(business_id="bus_two"), id="another business"),
        pytest.param(envelope(data=DATA | {"business_id": "bus_two"}), id="another business in the data"),
        pytest.param(envelope(businessid="bus_two"), id="another business as an attribute"),
        pytest.param(envelope(business_id=["bus_one"]), id="no name of a business"),
        pytest.param(envelope(mode="live"), id="the other mode"),
    ],
)
async def test_a_body_of_another_tenant_is_refused(api: Api, client: httpx.AsyncClient, body: bytes) -> None:
    await refused(api, await deliver(client, body), 403, "WRONG_TENANT")


async def test_a_body_that_names_nobody_is_the_endpoints(api: Api, client: httpx.AsyncClient) -> None:
    nameless = {name: value for name, value in DATA.items() if name != "business_id"}
    assert (await deliver(client, envelope(business_id=None, data=nameless))).status_code == 200
    assert understand(json.dumps(api.topic.records[0]).encode(), "live", NOW).tenant == TENANT


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(envelope(type=None), "NOT_AN_EVENT", id="no type"),
        pytest.param(envelope(data=[1]), "NOT_AN_EVENT", id="data is a list"),
        pytest.param(b'{"type": "payment.succeeded"}', "NOT_AN_EVENT", id="no data"),
        pytest.param(envelope(timestamp=None), "NO_TIME", id="no time"),
        pytest.param(envelope(data={"customer": None}), "INCOMPLETE", id="no payment"),
    ],
)
async def test_nothing_that_was_signed_is_lost(
    api: Api, client: httpx.AsyncClient, body: bytes, code: str
) -> None:
    """Refused it would be gone after upstream's last repetition; intake puts it aside with the reason."""
    assert (await deliver(client, body)).status_code == 200
    with pytest.raises(NotUnderstood) as reason:
        understand(json.dumps(api.topic.records[0]).encode(), "", NOW)
    assert reason.value.code == code


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b'"x"', b'{"a":' * 10_000])
async def test_a_body_that_is_no_object(api: Api, client: httpx.AsyncClient, body: bytes) -> None:
    await refused(api, await deliver(client, body), 422, "INVALID_REQUEST_BODY")


async def test_two_secrets_are_live_until_the_old_one_ends(api: Api, client: httpx.AsyncClient) -> None:
    assert (await deliver(client, secret=OLD_SECRET)).status_code == 200
    assert (await deliver(client, secret=SECRET, identifier="msg_2")).status_code == 200
    assert api.endpoints.opening is not None
    api.endpoints.opening = api.endpoints.opening._replace(old_until=1.0)
    api.topic.records.clear()
    async with _afresh(api) as fresh:
        await refused(
            api,
            await deliver(fresh, secret=OLD_SECRET, identifier="msg_3"),
            401,
            "WEBHOOK_SIGNATURE_INVALID",
        )
        assert (await deliver(fresh, secret=SECRET, identifier="msg_4")).status_code == 200


async def test_an_endpoint_that_is_revoked_while_the_body_comes_is_closed(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(remembered, "monotonic", lambda: now[0])
    body = envelope()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:5]
        api.endpoints.opening = None
        now[0] += remembered.EXPIRED_SECONDS
        yield body[5:]

    answer = await client.post(PATH, content=slowly(), headers=signed(body))
    await refused(api, answer, 404, "NOT_FOUND")


def _afresh(api: Api) -> httpx.AsyncClient:
    """A client after everything that is remembered was forgotten."""
    other = make_api()
    other.endpoints.opening, other.topic.records = api.endpoints.opening, api.topic.records
    return other.client(None)


def valid() -> dict[str, str]:
    """Signed now: what is signed when the tests are collected may be too old when they run."""
    return signed(envelope())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda v: {"webhook-signature": ""}, id="no signature"),
        pytest.param(lambda v: {"webhook-signature": "v1,"}, id="an empty one"),
        pytest.param(lambda v: {"webhook-signature": "v1"}, id="no comma"),
        pytest.param(lambda v: {"webhook-signature": "v1,%%%"}, id="not base64"),
        pytest.param(lambda v: {"webhook-signature": "v1,a,b"}, id="two commas"),
        pytest.param(lambda v: {"webhook-signature": "v1a," + v["webhook-signature"][3:]}, id="another version"),
        pytest.param(lambda v: {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}, id="nobody's"),
        pytest.param(lambda v: {"webhook-signature": signed(envelope(), OTHER_SECRET)["webhook-signature"]}, id="another's"),
        pytest.param(lambda v: {"webhook-id": "msg_2"}, id="another delivery's"),
        pytest.param(lambda v: {"webhook-id": ""}, id="no id"),
        pytest.param(lambda v: {"webhook-id": "a b"}, id="an id with a blank"),
        pytest.param(lambda v: {"webhook-id": "a" * 257}, id="an id too long"),
        pytest.param(lambda v: {"webhook-timestamp": str(int(v["webhook-timestamp"]) - 1)}, id="another moment"),
    ],
)  # fmt: skip
async def test_what_was_not_signed_so_is_refused(
    api: Api, client: httpx.AsyncClient, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    given = valid()
    answer = await client.post(PATH, content=envelope(), headers=given | change(given))
    await refused(api, answer, 401, "WEBHOOK_SIGNATURE_INVALID")


async def test_a_changed_body_is_refused(api: Api, client: httpx.AsyncClient) -> None:
    for body in (envelope() + b" ", envelope().replace(b"1100", b"9900"), b"\xff\xfe"):
        answer = await client.post(PATH, content=body, headers=valid())
        await refused(api, answer, 401, "WEBHOOK_SIGNATURE_INVALID")
        assert answer.json()["message"].startswith("The signature does not match")


@pytest.mark.parametrize("ago", [301, 86_400, -302])
async def test_an_old_or_future_delivery_is_refused(api: Api, client: httpx.AsyncClient, ago: float) -> None:
    await refused(api, await deliver(client, ago=ago), 401, "WEBHOOK_TIMESTAMP_INVALID")


@pytest.mark.parametrize("given", ["", "now", "1e9", "nan", "-1", "9" * 30])
async def test_a_timestamp_that_is_none(api: Api, client: httpx.AsyncClient, given: str) -> None:
    answer = await client.post(PATH, content=envelope(), headers=valid() | {"webhook-timestamp": given})
    await refused(api, answer, 401, "WEBHOOK_TIMESTAMP_INVALID")


async def test_one_signature_that_fits_is_enough(client: httpx.AsyncClient) -> None:
    for number, other in enumerate(("v1,abc", "hello", "v2,x,y", "v1," + "A" * 43 + "=", "")):
        given = signed(envelope(), identifier=f"msg_{number}")
        given["webhook-signature"] = f"{other} {given['webhook-signature']}"
        answer = await client.post(PATH, content=envelope(), headers=given)
        assert (answer.status_code, answer.json()) == (200, {"status": "taken"})


async def test_other_headers_may_come_twice(client: httpx.AsyncClient) -> None:
    """Proxies add some."""
    headers = [*valid().items(), ("x-request-id", "a"), ("x-request-id", "b")]
    assert (await client.post(PATH, content=envelope(), headers=headers)).json() == {"status": "taken"}


async def test_headers_that_come_twice(api: Api, client: httpx.AsyncClient) -> None:
    headers = [*valid().items(), ("webhook-id", "msg_2")]
    answer = await client.post(PATH, content=envelope(), headers=headers)
    await refused(api, answer, 401, "WEBHOOK_SIGNATURE_INVALID")


@pytest.mark.parametrize("endpoint", ["whk_" + "1" * 20, "whk_", "x", "whk_" + "0" * 21, "%00"])
async def test_an_unknown_endpoint(api: Api, client: httpx.AsyncClient, endpoint: str) -> None:
    answer = await deliver(client, path=f"/webhooks/payments/{endpoint}")
    await refused(api, answer, 404, "NOT_FOUND")


async def test_a_repetition_is_answered_and_not_published(api: Api, client: httpx.AsyncClient) -> None:
    await deliver(client)
    again = await deliver(client, ago=60)  # signed anew, as upstream does
    assert (again.status_code, again.json()) == (200, {"status": "duplicate"})
    assert len(api.topic.records) == 1
    assert (await deliver(client, identifier="msg_2")).json() == {"status": "taken"}
    assert len(api.topic.records) == 2


async def test_without_kafka_nothing_is_taken_nor_noted(api: Api, client: httpx.AsyncClient) -> None:
    api.topic.away = True
    answer = await deliver(client)
    await refused(api, answer, 503, "SERVICE_UNAVAILABLE")
    assert api.deliveries.noted == set()
    api.topic.away = False
    assert (await deliver(client)).json() == {"status": "taken"}


async def test_nothing_is_answered_before_kafka_has_it(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_it = asyncio.Event()

    async def slow(*_: object) -> None:
        await has_it.wait()

    monkeypatch.setattr(api.topic, "publish", slow)
    waiting = asyncio.create_task(deliver(client))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    has_it.set()
    assert (await waiting).status_code == 200


async def test_a_delivery_that_was_not_noted_is_published_again(api: Api, client: httpx.AsyncClient) -> None:
    """The same as after a crash between the two: intake knows what it has seen."""
    api.deliveries.note_fails = True
    assert (await deliver(client)).status_code == 200
    assert (await deliver(client)).json() == {"status": "taken"}
    assert api.topic.records[0] == api.topic.records[1]


@pytest.mark.parametrize("problem", [ViewsUnavailable, SecretUnreadable])
async def test_an_endpoint_that_cannot_be_looked_up(
    api: Api, client: httpx.AsyncClient, problem: type[ViewsUnavailable]
) -> None:
    api.endpoints.problem = problem
    await refused(api, await deliver(client), 503, "SERVICE_UNAVAILABLE")


async def test_deliveries_that_cannot_be_looked_up(api: Api, client: httpx.AsyncClient) -> None:
    api.deliveries.away = True
    await refused(api, await deliver(client), 503, "SERVICE_UNAVAILABLE")


async def test_a_body_has_a_size_a_type_and_an_end(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = envelope(data=DATA | {"x": "x" * 70_000})
    await refused(api, await deliver(client, large), 413, "PAYLOAD_TOO_LARGE")
    plain = await client.post(PATH, content=envelope(), headers=valid() | {"content-type": "text/plain"})
    await refused(api, plain, 415, "UNSUPPORTED_MEDIA_TYPE")
    monkeypatch.setattr(webhooks, "BODY_SECONDS_MAX", 0.01)

    async def endless() -> Any:
        yield b"{"
        await asyncio.Event().wait()

    slow = await client.post(PATH, content=endless(), headers=valid())
    await refused(api, slow, 408, "REQUEST_TIMEOUT")


async def test_every_refusal_is_counted(api: Api, client: httpx.AsyncClient) -> None:
    async def count(outcome: str) -> float:
        text = (await client.get("/metrics")).text
        name = f'wallet_ledger_api_webhooks_total{{outcome="{outcome}"}} '
        return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))

    outcomes = ("taken", "duplicate", "wrong_tenant", "webhook_signature_invalid", "not_found")
    before = [await count(outcome) for outcome in outcomes]
    for _ in range(2):
        await deliver(client)
    await deliver(client, envelope(business_id="bus_two"))
    await deliver(client, secret=OTHER_SECRET)
    await deliver(client, path="/webhooks/payments/x")
    assert [await count(outcome) for outcome in outcomes] == [number + 1 for number in before]


def test_the_library_checks_what_the_sdk_checks() -> None:
    """`client.webhooks.unwrap` of the SDK takes what we take: both are Standard Webhooks."""
    body = envelope()
    client = DodoPayments(bearer_token="x")
    event = client.webhooks.unwrap(body.decode(), headers=signed(body), key=SECRET)
    assert (event.type, event.business_id) == ("payment.succeeded", "bus_one")
    assert Webhook(SECRET).verify(body, signed(body)) == json.loads(body)
