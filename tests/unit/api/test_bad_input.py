"""Whatever is sent: a 4xx with a code, never a 500, and no command."""

import json
from typing import Any

import httpx
import pytest

from services.api.documents.foreign import FOREIGN
from services.api.documents.operation import Operation
from tests.unit.api.fakes import SECRETS, Api, make_api

JSON = {"content-type": "application/json"}
ENTRY = {"amount": 500, "currency": "USD", "entry_type": "credit"}
CUSTOMER = {"name": "A", "email": "e"}


def entry(**changes: Any) -> bytes:
    return json.dumps(ENTRY | changes).encode()


def made(**changes: Any) -> bytes:
    return json.dumps(CUSTOMER | changes).encode()


BODIES = [
    pytest.param(b"", id="empty"),
    pytest.param(b" ", id="blank"),
    pytest.param(b"null", id="null"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"{", id="cut off"),
    pytest.param(b'{"amount":1,}', id="comma too much"),
    pytest.param(b"{'amount':1}", id="wrong quotes"),
    pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
    pytest.param(b"\xff\xfe{}", id="not UTF-8"),
    pytest.param(b"[" * 50_000, id="nested lists"),
    pytest.param(b'{"a":' * 10_000, id="nested objects"),
    pytest.param(b'{"metadata":' * 5_000, id="nested in a known field"),
    pytest.param(entry() + b"{}", id="two documents"),
    pytest.param(b"%PDF-1.4", id="not JSON at all"),
]

ENTRIES = [
    pytest.param(entry(amount=0), id="nothing"),
    pytest.param(entry(amount=-1), id="negative"),
    pytest.param(entry(amount=1.0), id="a float"),
    pytest.param(entry(amount=0.1), id="a fraction"),
    pytest.param(entry(amount="5"), id="a text"),
    pytest.param(entry(amount=True), id="a boolean"),
    pytest.param(entry(amount=None), id="null amount"),
    pytest.param(entry(amount=2**53), id="more than the largest"),
    pytest.param(entry(amount=2**63), id="more than 63 bits"),
    pytest.param(entry(amount=10**400), id="a number without end"),
    pytest.param(entry().replace(b"500", b"1e999"), id="a float without end"),
    pytest.param(entry().replace(b"500", b"NaN"), id="not a number"),
    pytest.param(entry().replace(b"500", b"05"), id="a leading zero"),
    pytest.param(entry(currency="usd"), id="lower case"),
    pytest.param(entry(currency="USD\n"), id="currency with a line end"),
    pytest.param(entry(currency="AED"), id="closed currency"),
    pytest.param(entry(currency=""), id="no currency"),
    pytest.param(entry(currency=["USD"]), id="a list of currencies"),
    pytest.param(entry(entry_type="steal"), id="another type of entry"),
    pytest.param(entry(entry_type=None), id="no type of entry"),
    pytest.param(entry(reason=7), id="reason is a number"),
    pytest.param(entry(reason="a\x00b"), id="NUL in the reason"),
    pytest.param(entry(reason="x" * 1025), id="reason too long"),
    pytest.param(entry(idempotency_key=""), id="empty key"),
    pytest.param(entry(idempotency_key="k" * 256), id="key too long"),
    pytest.param(entry(idempotency_key="a\x00"), id="NUL in the key"),
    pytest.param(entry(idempotency_key={}), id="key is an object"),
    pytest.param(entry().replace(b'"credit"', b'"credit","reason":"\\ud800"'), id="lone surrogate"),
    pytest.param(b'{"amount":500,"currency":"USD"}', id="a field is missing"),
]

CUSTOMERS = [
    pytest.param(made(email=None), id="no email"),
    pytest.param(made(name=5), id="name is a number"),
    pytest.param(made(name="x" * 513), id="name too long"),
    pytest.param(made(name="a\x00"), id="NUL in the name"),
    pytest.param(b'{"name":"\\udfff","email":"e"}', id="lone surrogate"),
    pytest.param(b'{"name":"\xff","email":"e"}', id="not UTF-8"),
    pytest.param(b'{"name":"a"}', id="email is missing"),
    pytest.param(made(phone_number="1" * 65), id="phone number too long"),
    pytest.param(made(preferred_locale="xx"), id="unknown locale"),
    pytest.param(made(metadata=[]), id="metadata is a list"),
    pytest.param(made(metadata={"a": None}), id="metadata holds null"),
    pytest.param(made(metadata={"a": {}}), id="metadata holds an object"),
    pytest.param(made(metadata={"a b": 1}), id="metadata key with a blank"),
    pytest.param(made(metadata={"": 1}), id="empty metadata key"),
    pytest.param(made(metadata={"k" * 41: 1}), id="metadata key too long"),
    pytest.param(made(metadata={"a": "x" * 501}), id="metadata value too long"),
    pytest.param(made(metadata={"a": 2**53}), id="metadata number too large"),
    pytest.param(made(metadata={"a": 1e20}), id="metadata float too large"),
    pytest.param(made(metadata={"a": -(2.0**53)}), id="metadata float too small"),
    pytest.param(made(metadata={"a": "\x00"}), id="NUL in metadata"),
    pytest.param(made(metadata={f"k{n}": n for n in range(51)}), id="too many pairs"),
]

QUERIES = [
    "page_size=101", "page_size=-1", "page_size=x", "page_size=", "page_size=1.0", "page_size=%D9%A3",
    "page_size=99999999999999999999", "page_size=1&page_size=1", "page_size=1&page_size=2",
    "page_number=-1", "page_number=2147483648", "page_number=1000", "page_number=2147483647&page_size=100",
    "page_number=%00", "page_number=%ff", "page_number=%",
    "&".join(f"a{n}=1" for n in range(60)),
]  # fmt: skip
CUSTOMER_QUERIES = [
    "email=", "email=%00", "email=a&email=b", "name=%ff", f"name={'x' * 513}", "name=a%00b",
    "created_at_gte=yesterday", "created_at_gte=2026-13-01", "created_at_lte=2026-02-30T00:00:00Z",
    "created_at_lte=0001-01-01T00:00:00%2B14:00", "created_at_lte=9999-12-31T23:59:59-14:00",
    "created_at_gte=1700000000", "created_at_gte=2026-01-01T00:00:00%2B99:00",
]  # fmt: skip
ENTRY_QUERIES = [
    "currency=usd",
    "currency=",
    "currency=USDX",
    "currency=%00%00%00",
    "currency=USD&currency=INR",
]


def refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()) == {"code", "message"}
    assert answer.json()["code"].isupper()
    assert answer.headers["x-request-id"]


@pytest.fixture
def quiet(api: Api, customer: str) -> Api:
    """Any command from here on is one too many."""
    api.ledger.commands.clear()
    return api


@pytest.mark.parametrize("body", [*BODIES, *ENTRIES])
async def test_entry(quiet: Api, client: httpx.AsyncClient, customer: str, body: bytes) -> None:
    path = f"/customers/{customer}/wallets/ledger-entries"
    answer = await client.post(path, content=body, headers=JSON)
    refused(answer)
    assert answer.status_code == 422
    assert "regex" not in answer.json()["message"], "a form is told in words"
    assert quiet.ledger.commands == []


@pytest.mark.parametrize("body", [*BODIES, *CUSTOMERS])
async def test_customer(quiet: Api, client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/customers", content=body, headers=JSON)
    refused(answer)
    assert answer.status_code == 422
    assert quiet.ledger.commands == []


@pytest.mark.parametrize(
    "body", [*BODIES, *(case for case in CUSTOMERS if case.id not in ("no email", "email is missing"))]
)
async def test_profile(quiet: Api, client: httpx.AsyncClient, customer: str, body: bytes) -> None:
    answer = await client.patch(f"/customers/{customer}", content=body, headers=JSON)
    refused(answer)
    assert answer.status_code == 422
    assert quiet.ledger.commands == []


@pytest.mark.parametrize("query", [*QUERIES, *CUSTOMER_QUERIES])
async def test_customer_query(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/customers?{query}")
    refused(answer)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS")


@pytest.mark.parametrize("query", [*QUERIES, *ENTRY_QUERIES])
async def test_entry_query(client: httpx.AsyncClient, customer: str, query: str) -> None:
    answer = await client.get(f"/customers/{customer}/wallets/ledger-entries?{query}")
    refused(answer)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS")


_WRONG = {
    "created_at_gte": ("yesterday", "2026-02-30T00:00:00Z", ""), "created_at_lte": ("1700000000", "%00"),
    "currency": ("usd", "USDX"), "cancel_at_next_billing_date": ("TRUE", "1"), "customer_id": ("", "a%00b", "x" * 513),
}  # fmt: skip


def wrong(operation: Operation) -> list[str]:
    """What each parameter of a list cannot be."""
    found = [f"{name}=x&{name}=x" for name in ("page_size", "page_number")]
    for parameter in operation.parameters:
        values = _WRONG.get(parameter.name, ("no_such_word", "") if "enum" in parameter.schema else ("",))
        found += [f"{parameter.name}={value}" for value in values if parameter.place == "query"]
    return found


@pytest.mark.parametrize("operation", FOREIGN, ids=lambda operation: operation.identifier)
async def test_what_upstream_told(api: Api, client: httpx.AsyncClient, operation: Operation) -> None:
    begin, one, rest = operation.path.partition("{")
    if not one:
        for query in (*QUERIES, *wrong(operation)):
            answer = await client.get(f"{operation.path}?{query}")
            refused(answer)
            assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS"), query
        assert (await client.get(f"{operation.path}?page_size=0&unknown=1")).json() == {"items": []}
        assert api.foreign.asked == [], "nothing is read for a page of no rows"
        return
    for name in ("a%20b", "%00", "x" * 129, "%F0%9F%8E%89", "%ff", "pay_unknown"):
        answer = await client.get(begin + name + rest.partition("}")[2])
        refused(answer)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/", "/nowhere", "/customers/a b", "/customers/%00", "/customers/%ff", "/customers/%2e%2e%2f",
        "/customers/" + "c" * 65,
        "/customers/cus_x/wallets/nowhere", "/customers/%F0%9F%8E%89/wallets", "/payouts",
        "/customers/cus_x/customer-portal/session", "/v1", "/v2/customers", "/customers/cus%0Ax", "/docs/../customers.css",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_path(api: Api, client: httpx.AsyncClient, path: str, method: str) -> None:
    content = b"{}" if method in ("POST", "PATCH") else None
    answer = await client.request(method, path, content=content, headers=JSON)
    refused(answer)
    assert answer.status_code in (404, 405, 422)
    assert api.ledger.commands == []


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"idempotency-key", b"")], id="empty key"),
        pytest.param([(b"idempotency-key", b"k" * 256)], id="key too long"),
        pytest.param([(b"idempotency-key", b"\xff")], id="key not UTF-8"),
        pytest.param([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")], id="two keys"),
        pytest.param([(b"idempotency-key", b"a\x00")], id="NUL in the key"),
    ],
)
async def test_header(quiet: Api, client: httpx.AsyncClient, headers: list[tuple[bytes, bytes]]) -> None:
    answer = await client.post("/customers", json=CUSTOMER, headers=headers)
    refused(answer)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST_PARAMETERS")
    assert quiet.ledger.commands == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"]
)
async def test_media_type(quiet: Api, client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/customers", content=made(), headers={"content-type": kind})
    refused(answer)
    assert answer.status_code == 415
    assert quiet.ledger.commands == []


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/Vnd.x+JSON"]
)
async def test_media_types_of_json(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/customers", content=made(), headers={"content-type": kind})
    assert answer.status_code == 200


async def test_a_body_has_an_end() -> None:
    api = make_api(body_bytes_max=1024)
    async with api.client() as client:
        refused(answer := await client.post("/customers", content=made(name="x" * 2000), headers=JSON))
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
        refused(
            answer := await client.post(
                "/customers", content=b"{}", headers={"content-length": "9" * 30, **JSON}
            )
        )
        assert answer.status_code == 413

        async def endless() -> Any:
            for _ in range(1000):
                yield b"x" * 1000

        refused(answer := await client.post("/customers", content=endless(), headers=JSON))
        assert answer.status_code == 413
    assert api.ledger.commands == []


async def test_what_was_sent_is_not_repeated(client: httpx.AsyncClient, customer: str) -> None:
    for body in (
        entry(entry_type="secret"),
        entry(entry_type="some - at secret"),
        entry(entry_type="some - at `secret"),
        entry(currency="secret"),
        entry(reason={"secret": 1}),
        b'{"secret',
    ):
        path = f"/customers/{customer}/wallets/ledger-entries"
        assert "secret" not in (await client.post(path, content=body, headers=JSON)).text


@pytest.mark.parametrize(
    "authorization",
    [
        None, b"", b"Bearer", b"Bearer ", b"Bearer nope", b"Basic wl_test_all", b"wl_test_all", b"Bearer \xff\xfe",
        b"Bearer " + b"x" * 100_000, b"Bearer wl_test_expired", b"Bearer wl_test_all wl_test_all",
    ],
)  # fmt: skip
async def test_who_is_not_known_is_401(api: Api, authorization: bytes | None) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    async with api.client(None) as client:
        for answer in (
            await client.get("/customers", headers=headers),
            await client.post("/customers", content=made(), headers=headers),
        ):
            refused(answer)
            assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert not any(secret in answer.text for secret in SECRETS)


async def test_a_key_needs_the_scope(api: Api) -> None:
    async with api.client("wl_test_reader") as reader, api.client("wl_test_writer") as writer:
        assert (await reader.get("/customers")).status_code == 200
        assert (await writer.post("/customers", json=CUSTOMER)).status_code == 200
        for answer in (await reader.post("/customers", json=CUSTOMER), await writer.get("/customers")):
            refused(answer)
            assert answer.status_code == 401
    assert len(api.ledger.commands) == 1
