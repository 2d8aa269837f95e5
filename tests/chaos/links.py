"""Ways from processes to servers through ports of ours: they can be cut, slow, stalled, or dead on one side only."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

CHUNK_BYTES = 65_536


class _Pair(NamedTuple):
    """One connection: the process's side and the server's."""

    process: asyncio.StreamWriter
    server: asyncio.StreamWriter


class Link:
    """One way. All of it lives on the network's own loop; `Network` does what is asked of it there."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._pairs: set[_Pair] = set()
        self._half: set[_Pair] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay = 0.0

    async def serve(self, to_port: int) -> None:
        """Until cancelled."""
        server = await asyncio.start_server(lambda r, w: self._connected(r, w, to_port), sock=self._socket)
        async with server:
            await server.serve_forever()

    def cut(self, _: float) -> None:
        """Both sides are told at once (RST). New connections go through."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def half(self, _: float) -> None:
        """The server's side of every connection ends, the process's side hears nothing until `mend`."""
        for pair in list(self._pairs):
            self._half.add(pair)
            pair.server.transport.abort()

    def slow(self, delay: float) -> None:
        """Each piece takes longer."""
        self._delay = delay

    def stall(self, _: float) -> None:
        """Nothing comes through, nothing ends; what was sent arrives after `mend`."""
        self._flows.clear()

    def mend(self, _: float = 0.0) -> None:
        """As before; what was half dead is told so."""
        self._delay = 0.0
        self._flows.set()
        for pair in list(self._half):
            pair.process.transport.abort()
        self._half.clear()

    async def _connected(
        self, reader: asyncio.StreamReader, process: asyncio.StreamWriter, port: int
    ) -> None:
        await self._flows.wait()
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            process.transport.abort()
            return
        pair = _Pair(process, server)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(pair, reader, server), self._pump(pair, answers, process))
        finally:
            self._pairs.discard(pair)
            for writer in pair:
                writer.transport.abort()

    async def _pump(self, pair: _Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flows.wait()
                if pair not in self._half:
                    sink.write(data)
                    await sink.drain()
        if pair not in self._half:
            await self._flows.wait()
            sink.close()


class Network:
    """Links on a loop and a thread of their own, so that they go on whatever the test waits for."""

    def __init__(self, names: list[str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.links = {name: Link() for name in names}
        self._serving: list[asyncio.Task[None]] = []

    def start(self, to_ports: dict[str, int]) -> None:
        """Where each link leads."""
        self._thread.start()
        for name, link in self.links.items():
            self._call(lambda link=link, port=to_ports[name]: self._serve(link, port))  # type: ignore[misc]

    def stop(self) -> None:
        self._call(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hurt(self, name: str, how: str, delay: float) -> None:
        """`how` is a method of Link."""
        self._call(lambda: getattr(self.links[name], how)(delay))

    def _serve(self, link: Link, port: int) -> None:
        self._serving.append(self._loop.create_task(link.serve(port)))

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _call(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(10), "the network's loop stands still"
