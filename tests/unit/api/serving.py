"""The application behind uvicorn and our protocol, and bytes as a client sends them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn

from services.api.protocol import LimitedProtocol
from services.standalone.ports import free_port
from tests.unit.api.fakes import Api

PATIENCE_SECONDS = 10.0


@contextlib.asynccontextmanager
async def serving(api: Api, **more: object) -> AsyncIterator[int]:
    """Its port; `more` is uvicorn's."""
    port = free_port()
    config = uvicorn.Config(
        api.app, port=port, http=LimitedProtocol, ws="none", lifespan="off", log_config=None, **more  # type: ignore[arg-type]
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        await running


async def said(port: int, *pieces: bytes, between: float = 0.0) -> bytes:
    """All that comes back until the server ends the connection, which it must."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(between)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await reader.read()
    finally:
        writer.close()
