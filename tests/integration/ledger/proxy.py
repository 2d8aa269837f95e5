"""Between a worker and PostgreSQL: cuts the connection at a commit, or lets nothing through any more."""

import asyncio
import contextlib
from enum import Enum

COMMIT = b"SELECT commit_batch("
_SSL, _GSS, _CANCEL = 80_877_103, 80_877_104, 80_877_102


class Cut(Enum):
    """What the worker cannot tell apart."""

    BEFORE = "the batch never reaches the server"
    AFTER = "the server has committed, its answer never reaches the worker"


class Proxy:
    """Arm it with `cut`; the next commit of a batch on any connection sets it off, once."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut: Cut | None = None
        self.deaf = False
        """Connections stay open, and nothing comes through: as behind a broken switch."""
        self.done = asyncio.Event()

    async def start(self) -> int:
        """Its port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, worker: asyncio.StreamReader, to_worker: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        answers = asyncio.create_task(self._answer(server, to_worker))
        try:
            await self._forward(worker, to_server, server, answers)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the worker went
        finally:
            answers.cancel()
            for writer in (to_worker, to_server):
                writer.transport.abort()
            self._tasks.discard(task)

    async def _forward(
        self,
        worker: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        answers: asyncio.Task[None],
    ) -> None:
        await _hello(worker, to_server)
        prepared: bytes | None = None  # the name under which this session knows the commit
        while True:
            kind, body = await _message(worker)
            statement = _statement(kind, body)
            if kind == b"P" and COMMIT in body:
                prepared = statement
            if self.cut is not None and kind == b"B" and statement == prepared:
                cut, self.cut = self.cut, None
                if cut is Cut.AFTER:
                    await _commit(worker, to_server, server, answers, kind + body)
                self.done.set()
                return
            if not self.deaf:
                to_server.write(kind + body)
                await to_server.drain()

    async def _answer(self, server: asyncio.StreamReader, to_worker: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await server.read(65_536):
                if not self.deaf:
                    to_worker.write(data)
                    await to_worker.drain()
        if not self.deaf:
            to_worker.close()


async def _hello(worker: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
    """Messages without a kind, up to and with the one that starts the session."""
    code = _SSL
    while code in (_SSL, _GSS, _CANCEL):
        head = await worker.readexactly(8)
        code = int.from_bytes(head[4:])
        to_server.write(head + await worker.readexactly(int.from_bytes(head[:4]) - 8))
        await to_server.drain()


async def _message(worker: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Kind, and length with content."""
    kind, length = await worker.readexactly(1), await worker.readexactly(4)
    return kind, length + await worker.readexactly(int.from_bytes(length) - 4)


def _statement(kind: bytes, body: bytes) -> bytes | None:
    """The prepared statement that a Parse names first, and a Bind after its portal."""
    names = body[4:].split(b"\x00", 2)
    return {b"P": names[0], b"B": names[1]}[kind] if kind in (b"P", b"B") else None


async def _commit(
    worker: asyncio.StreamReader,
    to_server: asyncio.StreamWriter,
    server: asyncio.StreamReader,
    answers: asyncio.Task[None],
    message: bytes,
) -> None:
    """Forward the statement to its end, and keep the answer from the worker."""
    answers.cancel()
    await asyncio.gather(answers, return_exceptions=True)
    to_server.write(message)
    while message[:1] != b"S":  # Sync
        kind, body = await _message(worker)
        message = kind + body
        to_server.write(message)
    await to_server.drain()
    kind = b""
    while kind != b"Z":  # ReadyForQuery: an implicit transaction is committed before it
        kind, body = await _message(server)
        assert kind != b"E", f"the commit failed: {body!r}"
