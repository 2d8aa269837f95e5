"""Answers as finished bytes: rendering per request costs more than it gives."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

_encode = msgspec.json.Encoder().encode
JSON = b"application/json"


class Answer:
    """One response; Litestar sends whatever a handler returns that is an ASGI application."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
        self.body = body
        self.headers = headers
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def document(
    body: bytes, media_type: bytes, headers: Mapping[str, str] | None = None, status: int = 200
) -> Answer:
    """An answer of any media type."""
    fields = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    if headers:
        fields.extend((name.encode(), value.encode()) for name, value in headers.items())
    return Answer(body, fields, status)


def nothing(headers: Mapping[str, str]) -> Answer:
    """Done, and there is nothing to show."""
    return Answer(b"", [(name.encode(), value.encode()) for name, value in headers.items()], status=204)


def json(content: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    """A Struct, or what is made of them, as JSON."""
    return document(_encode(content), JSON, headers, status)
