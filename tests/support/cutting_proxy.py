"""A TCP proxy that can break its connections, like a bad network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """A proxy that passes bytes between its clients and a server.

    Args:
        target: address of the server.

    Attributes:
        url: where clients connect.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname, address.port)
        self._open: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.url = ""
        self._sent = b""

    def count_sent(self, text: str) -> int:
        """Return how often clients have sent a text, such as a path."""
        return self._sent.count(text.encode())

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()
        self._started.wait()

    def cut(self) -> None:
        """Break every connection."""
        asyncio.run_coroutine_threadsafe(self._break_all(), self._loop).result()

    def stop(self) -> None:
        """Break every connection and accept no other."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._started.set()
            await self._stopping.wait()
            server.close()
            await self._break_all()
            await asyncio.gather(*self._connections)

    async def _break_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:  # the server is not running
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._open |= pair
        try:
            await asyncio.gather(
                self._pass_on(reader, far_writer, count=True), self._pass_on(far_reader, writer)
            )
        finally:
            self._open -= pair
            for one in pair:
                one.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if count:
                    self._sent += data
                writer.write(data)
                await writer.drain()
        # The reader is closed, so the other direction ends too.
        writer.close()


@contextmanager
def cutting_proxy(target: str) -> Iterator[CuttingProxy]:
    """Run a proxy in front of a server until the end of the block."""
    proxy = CuttingProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
