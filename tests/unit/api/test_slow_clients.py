"""Who sends slowly is sent away after a while, and nobody waits for him."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.api import call, protocol
from tests.unit.api.fakes import make_api
from tests.unit.api.serving import said, serving

SLOW = 0.4
HEAD = b"POST /customers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wl_test_all\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A real server in front of the application, with less patience."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS_MAX", SLOW)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS_MAX", SLOW)
    monkeypatch.setattr(
        call.Call.json_body,
        "__kwdefaults__",
        (call.Call.json_body.__kwdefaults__ or {}) | {"seconds_max": SLOW},
    )
    async with serving(make_api()) as port:
        yield port


async def served(port: int) -> bool:
    found = await said(port, b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    return found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head", [b"", b"G", HEAD, HEAD + b"x: "], ids=["nothing", "a byte", "lines", "half a line"]
)
async def test_a_head_has_its_time(port: int, head: bytes) -> None:
    slow = asyncio.create_task(said(port, head))
    assert await served(port)
    answer = await slow
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"REQUEST_TIMEOUT" in answer
    assert b"x-should-retry: false\r\n" in answer, "it may be a write without a key"


async def test_a_second_head_on_a_connection_has_its_time(port: int) -> None:
    answer = await said(port, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /livez HT")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer


@pytest.mark.parametrize(("key", "repeated"), [(b"", b"false"), (b"idempotency-key: k\r\n", b"")])
async def test_a_body_has_its_time(port: int, key: bytes, repeated: bytes) -> None:
    sdk = b"x-stainless-retry-count: 0\r\n" + key
    head = HEAD + sdk + b"content-type: application/json\r\ncontent-length: 100\r\n\r\n"
    slow = asyncio.create_task(said(port, head, b'{"name":'))
    assert await served(port)
    answer = await slow
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"REQUEST_TIMEOUT" in answer
    assert answer.partition(b"x-should-retry: ")[2].partition(b"\r\n")[0] == repeated


async def test_a_body_that_nobody_reads_has_its_time(port: int) -> None:
    head = b"POST /customers HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    assert (await said(port, head, b"{")).startswith(b"HTTP/1.1 401 ")


async def test_who_sends_in_pieces_but_in_time_is_served(port: int) -> None:
    head = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer: Any = await said(port, *(bytes([byte]) for byte in head))
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n"])
async def test_blank_lines_hold_no_connection(port: int, blank: bytes) -> None:
    """They begin no request, and uvicorn's own timer ends with them."""
    asked = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await said(port, asked, blank, between=0.1)
    assert answer.count(b"HTTP/1.1 200 ") == 1
