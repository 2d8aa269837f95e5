"""A list as a stream of CSV or NDJSON: bounded in memory, rows and time, and over as soon as nobody reads it."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter

import msgspec
import structlog
from litestar.types import Receive, Scope, Send

from services.api import metrics
from services.api.lookups import FoundEntry
from services.api.shapes.lookups import LedgerEntry

log = structlog.get_logger()

SECONDS_MAX = 600.0
SEND_SECONDS_MAX = 30.0
"""A reader who takes nothing for so long has gone."""

REST = 2.0
"""Pause after each piece, in times of the work for it: other requests of this process come first."""

_MEDIA_TYPES = {"csv": b"text/csv; charset=utf-8", "ndjson": b"application/x-ndjson"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_FIELDS = LedgerEntry.__struct_fields__
_encoder = msgspec.json.Encoder()

Show = Callable[[FoundEntry], LedgerEntry]


class Cut(Exception):
    """The export cannot be completed; the connection is closed without its end, so that nobody takes it for whole."""


class Export:
    """One response; Litestar sends whatever a handler returns that is an ASGI application."""

    def __init__(
        self,
        pieces: AsyncGenerator[list[FoundEntry], None],
        show: Show,
        form: str,
        rows_max: int,
        headers: dict[str, str],
    ) -> None:
        self._pieces = pieces
        self._show = show
        self._form = form
        self._rows_max = rows_max
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            # what goes wrong here still is an answer with a status
            first: list[FoundEntry] = await anext(self._pieces, [])
            await send({"type": "http.response.start", "status": 200, "headers": self._head()})
            outcome = await self._watched(first, receive, send)
        metrics.EXPORTS.labels(outcome).inc()
        if outcome not in ("complete", "abandoned"):
            log.warning("an export was cut off", why=outcome)

    def _head(self) -> list[tuple[bytes, bytes]]:
        name = f'attachment; filename="ledger-entries.{self._form}"'.encode()
        return [
            (b"content-type", _MEDIA_TYPES[self._form]),
            (b"content-disposition", name),
            *self._headers,
        ]

    async def _watched(self, first: list[FoundEntry], receive: Receive, send: Send) -> str:
        """Ends with the reader: a server does not tell whoever sends that nobody is there."""
        sending = asyncio.ensure_future(self._send_all(first, send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, timeout=SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return _outcome(sending)
            return "abandoned" if leaving.done() else "too long"
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, piece: list[FoundEntry], send: Send) -> None:
        rows = 0
        text = _csv([_FIELDS]) if self._form == "csv" else b""
        while piece:
            rows += len(piece)
            if rows > self._rows_max:
                raise Cut("too many rows")
            began = perf_counter()
            text += self._render(piece)
            spent = perf_counter() - began
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await send({"type": "http.response.body", "body": text, "more_body": True})
            text = b""
            await asyncio.sleep(spent * REST)
            piece = await anext(self._pieces, [])
        await send({"type": "http.response.body", "body": text, "more_body": False})

    def _render(self, piece: list[FoundEntry]) -> bytes:
        entries = [self._show(row) for row in piece]
        if self._form == "ndjson":
            return _encoder.encode_lines(entries)
        return _csv([[_cell(getattr(entry, name)) for name in _FIELDS] for entry in entries])


def _outcome(sending: "asyncio.Task[None]") -> str:
    error = sending.exception()
    if error is None:
        return "complete"
    if isinstance(error, Cut):
        return str(error)
    return "reader too slow" if isinstance(error, TimeoutError) else type(error).__name__


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _cell(value: object) -> str:
    """A spreadsheet runs what looks like a formula: text that begins like one gets an apostrophe before it."""
    if value is None:
        return ""
    text = msgspec.to_builtins(value) if not isinstance(value, str) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else str(text)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    """RFC 4180."""
    output = io.StringIO(newline="")
    csv.writer(output).writerows(rows)
    return output.getvalue().encode()
