"""Uploaded files, passed from the network to a sink a piece at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from fastapi import Request

from energy_flow.choices import ServerState
from service.api.bodies import wait_for_disconnect
from service.api.request_memory import memory_of
from service.lifespan import Service
from service.problems import Problem, unavailable
from service.threads import Threads, in_thread

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")

PIECE_BYTES: Final = 2**20
"""Bytes that a sink receives at once."""


LINE_FACTOR: Final = 16
"""Memory of a line of JSON by its bytes, as measured.

Its text has copies, and its numbers are float64, which are copied as rows, and float32.
"""


class Sink(Protocol[Result_co]):
    """A receiver of a file. Its methods block, except ``cancel``.

    They are called one at a time, by any thread; ``cancel`` at any time.
    """

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line that is not complete, which is parsed at once when it is."""
        ...

    def feed(self, piece: bytes) -> None:
        """Accept the next bytes."""

    def finish(self) -> Result_co:
        """Complete the file and return what was made of it."""
        ...

    def cancel(self) -> None:
        """Let a call in progress end early, if that is possible; its result is not wanted."""

    def close(self) -> None:
        """Remove what is no longer needed; nothing follows."""


async def receive_upload(
    request: Request, service: Service, open_sink: Callable[[], Sink[Result]]
) -> Result:
    """Return what a sink makes of the body.

    The client waits while the sink is busy, so little of the file is in memory.

    Args:
        request: The request.
        service: The service.
        open_sink: Returns the sink; may block.

    Raises:
        CapacityError: What is parsed at once can never fit in memory.
        MemoryInUse: Other work has the memory.
        Problem: As the sink; also 499, the client disconnected; 503, the server stops; 507, the
            disk is full.
    """
    sink = await in_thread(Threads.UPLOADS, open_sink)
    lock = threading.Lock()
    memory = memory_of(request)
    try:
        async for piece in _read_pieces(request):
            if service.state is not ServerState.READY:
                raise unavailable(f"the server is {service.state}")
            # For the time of the call only: most uploads wait for a thread or for the network.
            usual = memory.bytes
            await memory.hold(usual + LINE_FACTOR * sink.pending_bytes)
            await _call_exclusively(lock, partial(sink.feed, piece))
            await memory.hold(usual)
        await memory.hold(memory.bytes + LINE_FACTOR * sink.pending_bytes)
        return await _finish(request, sink, lock)
    except BaseException:
        # If this task was cancelled, the call in progress still runs.
        sink.cancel()
        await _call_exclusively(lock, sink.close)
        raise


async def _finish(request: Request, sink: Sink[Result], lock: threading.Lock) -> Result:
    """Complete the file, unless the client disconnects meanwhile, and close the sink."""

    def finish_and_close() -> Result:
        result = sink.finish()
        sink.close()
        return result

    watch = asyncio.create_task(wait_for_disconnect(request))
    watch.add_done_callback(lambda _: sink.cancel())
    try:
        return await _call_exclusively(lock, finish_and_close)
    finally:
        watch.cancel()


async def _call_exclusively(lock: threading.Lock, call: Callable[[], Result]) -> Result:
    """Call in a thread, after the call that a cancelled request may have left behind."""

    def wait_and_call() -> Result:
        with lock:
            return call()

    return await in_thread(Threads.UPLOADS, wait_and_call)


async def _read_pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about :data:`PIECE_BYTES`."""
    buffer: list[bytes] = []
    size = 0
    is_complete = False
    while not is_complete:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Problem(499, "the client disconnected")
        is_complete = not message.get("more_body", False)
        buffer.append(message.get("body", b""))
        size += len(buffer[-1])
        if size >= PIECE_BYTES or (is_complete and size):
            yield b"".join(buffer)
            buffer, size = [], 0
