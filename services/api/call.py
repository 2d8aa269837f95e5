"""One HTTP request, as far as handlers care: the headers they read, and the body within its limit."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from itertools import count

from litestar.types import HTTPScope, Receive

from services.api.errors import (
    invalid_body,
    invalid_parameters,
    payload_too_large,
    request_timeout,
    unsupported_media_type,
)

_READ = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"idempotency-key",
        b"ledger-position",
        b"prefer",
        b"webhook-id",
        b"webhook-signature",
        b"webhook-timestamp",
        b"x-request-id",
        b"x-stainless-retry-count",
    }
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
_PROCESS = secrets.token_hex(6)
_numbers = count(1)

BODY_SECONDS_MAX = 30.0
"""From the end of the head to the end of the body, unless a route allows less."""

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"


class Call:
    """Made once per request by the edge, found by handlers in the scope."""

    __slots__ = (
        "_body_bytes_max", "_receive", "address", "again", "headers", "keyed", "limits", "policy", "query", "repeated",
        "request_id",
    )  # fmt: skip

    def __init__(self, scope: HTTPScope, receive: Receive, body_bytes_max: int) -> None:
        found: dict[bytes, bytes] = {}
        self.repeated: set[bytes] | None = None
        for name, value in scope["headers"]:
            if name in _READ:
                if name in found:
                    self.repeated = (self.repeated or set()) | {name}
                found[name] = value
        self.headers = found
        self.query = scope["query_string"]
        self.keyed = b"idempotency-key" in found
        """Whether it is known to have an idempotency key; in its body it may have one that was not read yet."""
        self.again: Callable[[], Awaitable[object]] | None = None
        """Asks once more whether its caller may; set by whoever let it in."""
        self.policy = API_POLICY
        client = scope.get("client")  # ASGI need not say it
        self.address = client[0] if client is not None else ""
        self.limits: list[tuple[bytes, bytes]] = []
        """Headers of the answer."""
        self._receive = receive
        self._body_bytes_max = body_bytes_max
        given = found.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            self.request_id = given
        else:
            self.request_id = f"req_{_PROCESS}{next(_numbers):x}".encode()

    def header(self, name: bytes) -> str | None:
        """A header that may stand there once, as text.

        Raises:
            ApiError: it stands there twice, or is not UTF-8.
        """
        value = self.headers.get(name)
        if value is None:
            return None
        if self.repeated is not None and name in self.repeated:
            raise invalid_parameters(f"The header {name.decode()} may be sent once")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise invalid_parameters(f"The header {name.decode()} is not UTF-8") from error

    async def json_body(
        self, *, required: bool = True, bytes_max: int = 0, seconds_max: float = BODY_SECONDS_MAX
    ) -> bytes:
        """The body of a request; `{}` where it may be missing and is. `bytes_max`: if not the usual.

        Raises:
            ApiError: too large, too slow, or not announced as JSON; or its caller may no longer.
        """
        media_type = self.headers.get(b"content-type")
        if media_type is not None and not _is_json(media_type):
            raise unsupported_media_type()
        try:
            async with asyncio.timeout(seconds_max):
                body = await self._read(bytes_max or self._body_bytes_max)
        except TimeoutError as error:
            raise request_timeout(seconds_max) from error
        if self.again is not None:
            await self.again()
        if not body and required:
            raise invalid_body("A JSON body is required")
        return body or b"{}"

    async def _read(self, bytes_max: int) -> bytes:
        announced = self.headers.get(b"content-length", b"")
        if announced.isdigit() and (len(announced) > 12 or int(announced) > bytes_max):
            raise payload_too_large(bytes_max)
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise invalid_body("The connection was closed before the end of the body")
            body += message["body"]
            if len(body) > bytes_max:
                raise payload_too_large(bytes_max)
            if not message.get("more_body"):
                return bytes(body)


def _is_json(media_type: bytes) -> bool:
    essence = media_type.partition(b";")[0].strip().lower()
    return essence == b"application/json" or (
        essence.startswith(b"application/") and essence.endswith(b"+json")
    )
