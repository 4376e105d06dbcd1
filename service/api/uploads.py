"""Files that are sent: from the network to whoever takes them, a piece at a time, in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol, TypeVar

from fastapi import Request

from service.api.middleware import discard_body
from service.lifespan import Service, State
from service.problems import Problem, problem_of, unavailable

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")

PIECE_BYTES = 2**20


class Sink(Protocol[Result_co]):
    """Takes a file. Its methods block and are called one after the other, on changing threads."""

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes."""

    def finish(self) -> Result_co:
        """The file is complete."""
        ...

    def close(self) -> None:
        """Nothing more comes; removes what is not wanted any more."""


async def receive(
    request: Request, service: Service, open_sink: Callable[[], Sink[Result]]
) -> Result:
    """Hands the body to a sink, in pieces of about :data:`PIECE_BYTES`.

    The client waits while the sink is busy, so that little is in memory.

    Args:
        open_sink: makes the sink; may block.

    Returns:
        what the sink makes of the file.

    Raises:
        Problem: the sink refuses it; 499, the client hung up; 503, the server stops; 507.
    """
    body = _Body(request)
    try:
        sink = await asyncio.to_thread(open_sink)
        turn = threading.Lock()
        try:
            async for piece in body.pieces():
                if service.state is not State.READY:
                    raise unavailable(f"the server is {service.state}")
                await _in_turn(turn, partial(sink.feed, piece))
            return await _in_turn(turn, sink.finish)
        finally:
            await _in_turn(turn, sink.close)
    except Exception as error:
        problem = problem_of(error)
        if body.over or problem.status == 500:
            raise
        await body.discard()
        problem.headers["Connection"] = "close"
        raise problem from error


async def _in_turn(turn: threading.Lock, act: Callable[[], Result]) -> Result:
    """Acts in a thread, after the one that a request which was given up has left at work."""

    def wait_and_act() -> Result:
        with turn:
            return act()

    return await asyncio.to_thread(wait_and_act)


class _Body:
    """The body of a request.

    Attributes:
        over: whether nothing more comes.
    """

    def __init__(self, request: Request) -> None:
        self.over = False
        self._receive = request.receive
        # Reading would ask a client that waits for "100 Continue" to send it all.
        self._awaited = request.headers.get("expect", "").lower() == "100-continue"

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, cut anew."""
        held: list[bytes] = []
        size = 0
        while not self.over:
            self._awaited = False
            # Also when it turns out to be too large, and the middleware takes over.
            self.over = True
            message = await self._receive()
            if message["type"] != "http.request":
                raise Problem(499, "the client hung up")
            self.over = not message.get("more_body", False)
            held.append(message.get("body", b""))
            size += len(held[-1])
            if size >= PIECE_BYTES or (self.over and size):
                yield b"".join(held)
                held, size = [], 0

    async def discard(self) -> None:
        """Lets the client send the rest, within bounds, so that it gets to its answer."""
        if not self._awaited:
            await discard_body(self._receive)
