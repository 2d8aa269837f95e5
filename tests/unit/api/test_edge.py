"""What every answer has, the pages, and what goes wrong inside."""

import re
import sys
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from litestar import Litestar
from msgspec import Struct
from structlog.testing import capture_logs

from services.api.documents.openapi import document
from services.api.documents.operations import OPERATIONS
from services.api.routes import ROUTES
from tests.unit.api.fakes import Api


@pytest.mark.parametrize("path", ["/livez", "/customers", "/nowhere", "/docs", "/openapi.json", "/metrics"])
async def test_every_answer_is_hardened(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-request-id"]


async def test_a_request_id_is_kept_if_it_can_be_one(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez", headers={"x-request-id": "a-b_c.9:Z"})).headers[
        "x-request-id"
    ] == "a-b_c.9:Z"
    seen = set()
    for given in (b"", b"a b", b"a\xff", b"x" * 129, b"<script>"):
        answer = await client.get("/livez", headers=[(b"x-request-id", given)])
        assert answer.headers["x-request-id"].startswith("req_")
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 5


async def test_an_id_with_a_slash_is_one_part_of_a_path(api: Api, client: httpx.AsyncClient) -> None:
    """And no part of another address: `%2F` is no end of a part, and what is left empty is no address at all."""
    asked: list[str] = []

    async def told(*of: Any) -> None:
        asked.append(of[-1])

    api.foreign.one = api.foreign.payment = api.foreign.instance = told  # type: ignore[method-assign,assignment]
    for path in (
        "/payments/a%2Fb", "/payments/a%2Fline-items", "/payments/%2f/line-items", "/payments/pay%2F", "/refunds/a%252Fb",
        "/license_key_instances/%7E%25", "/subscriptions/%2F%2F",
    ):  # fmt: skip
        assert (await client.get(path)).status_code == 404
    assert asked == ["a/b", "a/line-items", "/", "pay/", "a%2Fb", "~%", "//"]


@pytest.mark.parametrize(
    "path",
    [
        "/customers/",
        "//customers",
        "/payments/pay_1/",
        "/payments//line-items",
        "/customers//wallets",
        "/payments//pay_1",
    ],
)
async def test_a_path_with_an_empty_part_is_none(api: Api, client: httpx.AsyncClient, path: str) -> None:
    """An id that is empty by mistake must not lead to the address of something else."""
    for method in ("GET", "POST", "PATCH", "OPTIONS"):
        answer = await client.request(method, f"http://test{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        assert answer.headers["x-request-id"]
    assert (api.foreign.asked, api.ledger.commands) == ([], [])


async def test_a_defect_shows_its_request_id_and_nothing_else(api: Api, client: httpx.AsyncClient) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret value")

    api.views.customer = broken  # type: ignore[method-assign,assignment]
    with capture_logs() as logged:
        answer = await client.get("/customers/cus_x", headers={"x-request-id": "quote-me"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "INTERNAL_SERVER_ERROR"
    assert answer.headers["x-request-id"] == "quote-me"
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.text
    assert [line["request_id"] for line in logged] == ["quote-me"]
    assert "secret" not in str(logged)


async def test_other_methods_say_which_are_allowed(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/customers")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert {"GET", "POST"} <= set(answer.headers["allow"].replace(" ", "").split(","))


async def test_readiness_names_what_is_missing(api: Api) -> None:
    async with api.client(None) as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "problems": {}})
        api.readiness.found = {"projections": "no projector is running"}
        missing = await client.get("/readyz")
        assert (missing.status_code, missing.json()["problems"]) == (503, api.readiness.found)


async def test_requests_are_measured_by_route(client: httpx.AsyncClient, customer: str) -> None:
    def count(text: str) -> float:
        line = (
            r'api_request_seconds_count\{method="GET",route="/customers/\{customer_id\}",status="4xx"\} (\S+)'
        )
        return float(found[1]) if (found := re.search(line, text)) else 0.0

    before = count((await client.get("/metrics")).text)
    await client.get("/customers/cus_nobody")
    after = (await client.get("/metrics")).text
    assert count(after) == before + 1
    assert customer not in after


def test_the_document_describes_every_route() -> None:
    routes = {
        (method.lower(), re.sub(r":str", "", path))
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
        if path not in ("/openapi.json", "/docs", "/docs/vi", "/docs/docs.css")
    }
    assert {(operation.method, operation.path) for operation in OPERATIONS} == routes


def test_every_time_in_the_document_is_told_as_one() -> None:
    """By the Structs themselves: whatever is a datetime here."""
    schemas = document()["components"]["schemas"]
    modules = [module for name, module in sys.modules.items() if name.startswith("services.api.shapes.")]
    named = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    kinds = {kind for kind in named if issubclass(kind, Struct) and kind.__name__ in schemas}
    rest = schemas.keys() - {kind.__name__ for kind in kinds}
    assert not any(schemas[name].get("properties") for name in rest)
    for kind in kinds:
        times = {field.name for field in msgspec.structs.fields(kind) if "datetime" in str(field.type)}
        told = schemas[kind.__name__].get("properties", {})
        assert {name for name, schema in told.items() if "'date-time'" in str(schema)} == times, kind


async def test_the_document_is_valid_openapi(client: httpx.AsyncClient) -> None:
    served = (await client.get("/openapi.json")).json()
    assert served == document()
    assert served["openapi"].startswith("3.1.")
    for schema in served["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r"#/components/schemas/(\w+)", str(served)))
    assert references == set(served["components"]["schemas"])
    for path, methods in served["paths"].items():
        for operation in methods.values():
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert {"200", "204"} & operation["responses"].keys()


async def test_answers_fit_their_schemas(client: httpx.AsyncClient, customer: str) -> None:
    schemas = document()["components"]["schemas"]
    path = f"/customers/{customer}"
    entry = {"amount": 5, "currency": "USD", "entry_type": "credit", "reason": "r"}
    answers = {
        "CustomerWallet": await client.post(f"{path}/wallets/ledger-entries", json=entry),
        "Customer": await client.get(path),
        "CustomerPage": await client.get("/customers"),
        "WalletList": await client.get(f"{path}/wallets"),
        "LedgerEntryPage": await client.get(f"{path}/wallets/ledger-entries"),
        "Error": await client.get("/customers/cus_nobody"),
    }
    for name, answer in answers.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema.validate(answer.json(), whole)


def test_routes_are_as_litestar_takes_them() -> None:
    assert len(Litestar(route_handlers=ROUTES, openapi_config=None).routes) == len(
        {path for h in ROUTES for path in h.paths}
    )


async def test_options_names_what_the_document_names(client: httpx.AsyncClient) -> None:
    for path, methods in document()["paths"].items():
        answer = await client.options(path.replace("{customer_id}", "cus_x"))
        assert answer.status_code == 204
        assert answer.headers["allow"] == ", ".join(sorted({"OPTIONS", *(name.upper() for name in methods)}))
