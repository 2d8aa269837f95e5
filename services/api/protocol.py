"""uvicorn's HTTP protocol with limits that it lacks: on the size of heads, the time of requests, and JSON for refusals."""

import asyncio
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.api.call import API_POLICY
from services.api.edge import SECURITY_HEADERS
from services.api.shapes.customers import Error

HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
HEAD_SECONDS_MAX = 10.0
"""From the first byte, or from the connection, to the end of the head."""

REQUEST_SECONDS_MAX = 60.0
"""To the end of a body that nobody reads any more; who reads one waits shorter (`call.BODY_SECONDS_MAX`)."""


OFFERS = frozenset({b"upgrade", b"http2-settings"})


class HeadTooLarge(Exception):
    """Raised inside of the parser, which stops there."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_ended = False
        self._receiving = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(HEAD_SECONDS_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A request that came whole needs no timer. Blank lines between requests are none, and end uvicorn's own timer."""
        self._unset_keepalive_if_required()
        while data:
            data = self._parsed(data)
        idle = self.cycle is None or self.cycle.response_complete
        if self._timer is None and (self._receiving or idle) and not self.transport.is_closing():
            self._allow(REQUEST_SECONDS_MAX if self._receiving and self._head_ended else HEAD_SECONDS_MAX)

    def _parsed(self, data: bytes) -> bytes:
        """What is to be parsed again: a request that offered another protocol, as if it had not.

        The parser ends before the body of one, which would be lost, or be taken for another request (uvicorn #2722).
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.parser.get_method() == b"CONNECT":
                self.send_400_response("This is no proxy")
                return b""
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            return head + data[offer.args[0] :]
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        return b""

    def _head_without_offer(self) -> bytes:
        lines = [
            b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() not in OFFERS]
                lines.append(b"connection: %b" % b",".join(kept))
            elif name not in OFFERS:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._receiving, self._head_ended = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._head_ended = True
        self._forget_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._receiving = False
        self._forget_timer()
        super().on_message_complete()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, behind the body, are not headers: whoever looked at these is past them."""
        self._count(len(name) + len(value))
        if not self._head_ended:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) >= HEADERS_MAX:
            raise HeadTooLarge

    def _allow(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """The connection ends, unless an answer is on its way: then it gets as long again."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._allow(REQUEST_SECONDS_MAX)
        elif self._head_ended:
            self.transport.close()
        else:
            # Whose it is was not read: it may be a write without a key, which the SDK would repeat.
            message = "The head of the request came too slowly"
            self._refuse(b"408 Request Timeout", "REQUEST_TIMEOUT", message, (b"x-should-retry", b"false"))

    def send_400_response(self, msg: str) -> None:
        """Whatever cannot be parsed is answered in our form, and the connection ends."""
        self._forget_timer()
        large = self._head_bytes > HEAD_BYTES_MAX or bool(self.headers and len(self.headers) >= HEADERS_MAX)
        status = b"431 Request Header Fields Too Large" if large else b"400 Bad Request"
        code = "HEADERS_TOO_LARGE" if large else "INVALID_REQUEST"
        self._refuse(status, code, "The head of the request is too large" if large else msg)

    def _refuse(self, status: bytes, code: str, message: str, *more: tuple[bytes, bytes]) -> None:
        body = msgspec.json.encode(Error(code=code, message=message))
        headers = (*SECURITY_HEADERS, (b"content-security-policy", API_POLICY), *more)
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
            % (status, len(body), b"".join(b"%b: %b\r\n" % header for header in headers), body)
        )
        self.transport.close()
