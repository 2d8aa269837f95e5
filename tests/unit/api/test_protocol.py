"""What HTTP/1.1 lets a client send, as bytes: offers of another protocol, trailers, and what comes behind a request."""

from collections.abc import AsyncIterator

import pytest
from msgspec import UNSET

from tests.unit.api.fakes import Api, make_api
from tests.unit.api.serving import said, serving

BODY = b'{"name":"Mai","email":"mai@example.com"}'
KEY = b"authorization: Bearer wl_test_all\r\n"
OFFER = (
    b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"upgrade: h2c\r\n"
)
"""As `curl --http2` and Java's HttpClient send it."""
LAST = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture
def api() -> Api:
    return make_api()


@pytest.fixture
async def port(api: Api) -> AsyncIterator[int]:
    async with serving(api) as port:
        yield port


def post(path: bytes, body: bytes, *more: bytes) -> bytes:
    """The head of a request with a body."""
    length = b"content-length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-type: application/json\r\n%b%b\r\n" % (
        path, KEY, length, b"".join(more)
    )  # fmt: skip


@pytest.mark.parametrize("between", [0.0, 0.1], ids=["one segment", "apart"])
async def test_an_offer_of_another_protocol_is_declined_and_the_request_done(
    api: Api, port: int, between: float
) -> None:
    head = post(b"/customers", BODY, OFFER)
    pieces = (head + BODY,) if between == 0 else (head, BODY)
    answer = await said(port, *pieces, LAST, between=between)
    assert answer.count(b"HTTP/1.1 200 ") == 2, answer
    assert b'"name":"Mai"' in answer


async def test_a_body_behind_an_offer_is_no_other_request(api: Api, port: int) -> None:
    """Behind a proxy it would be somebody else's."""
    body = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await said(port, post(b"/customers", body, OFFER), body, LAST, between=0.1)
    assert answer.count(b"HTTP/1.1 422 ") == answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.count(b"HTTP/1.1") == 2


async def test_many_offers_at_once_are_as_many_requests(port: int) -> None:
    asked = b"GET /livez HTTP/1.1\r\nhost: x\r\n" + OFFER + b"\r\n"
    answer = await said(port, asked * 1_500, LAST)
    assert answer.count(b"HTTP/1.1 200 ") == 1_501


async def test_what_else_a_connection_header_says_stays(port: int) -> None:
    asked = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close, Upgrade\r\nupgrade: websocket\r\n\r\n"
    assert b"connection: close" in await said(port, asked)


async def test_this_is_no_proxy(port: int) -> None:
    answer = await said(port, b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_trailers_are_no_headers(api: Api, port: int) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    head = b"POST /customers HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
    answer = await said(port, head + b"\r\n" + chunks + KEY + b"\r\n", LAST)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    answer = await said(
        port, head + KEY + b"\r\n" + chunks + b"idempotency-key: a\r\nidempotency-key: b\r\n\r\n", LAST
    )
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert api.ledger.commands[-1].idempotencykey is UNSET
