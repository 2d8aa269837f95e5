"""uvicorn's HTTP protocol with limits that it lacks: on the size of headers, and JSON for what it cannot parse."""

from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.api.shapes import Error

HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100


class HeadTooLarge(Exception):
    """Raised inside of the parser, which stops there."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            raise HeadTooLarge

    def send_400_response(self, msg: str) -> None:
        """Whatever cannot be parsed is answered in our form, and the connection ends."""
        large = self._head_bytes > HEAD_BYTES_MAX or bool(self.headers and len(self.headers) >= HEADERS_MAX)
        status = b"431 Request Header Fields Too Large" if large else b"400 Bad Request"
        code = "HEADERS_TOO_LARGE" if large else "INVALID_REQUEST"
        body = msgspec.json.encode(
            Error(code=code, message="The head of the request is too large" if large else msg)
        )
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()
