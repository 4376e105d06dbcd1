"""``BodyLimit``: limits the length of bodies, and of all bodies together.

It also holds memory for a body before it is read, and for everything that is made of it, until the
request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from energy_flow.errors import CapacityError, MemoryInUse
from service.api.request_memory import MEMORY_IN_USE, HeldMemory, RequestMemory
from service.problems import Problem, problem_of, unavailable

MAX_STREAMED_BYTES: Final = 2 * 2**20
"""How much of a file is in memory that is streamed to the disk, at most."""

PIECE_BYTES: Final = 256 * 1024
"""Bytes of an answer that are sent at once."""

RETRY_SECONDS: Final = 2
"""When to try again where bodies in memory are too large together."""

READ_FACTOR: Final = 2
"""Memory of a body by its bytes: the pieces in which it arrives, and the body that is made of them.

What is made of most bodies afterwards takes no more, because the pieces are gone then.
"""


class BodyLimit:
    """Middleware that refuses a body that is too large, by its stated length or while it is read.

    Args:
        app: The application.
        limit: Returns the most bytes that the body of a request may have.
        in_flight: Bytes of all bodies in memory.
        memory: Memory of all requests.
        arrival_seconds: How long memory is held for bytes that have not arrived; afterwards, only
            for those that have.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: Callable[[Scope], int],
        in_flight: BytesInFlight,
        memory: RequestMemory,
        arrival_seconds: float,
    ) -> None:
        self.app = app
        self.limit = limit
        self.in_flight = in_flight
        self.memory = memory
        self.arrival_seconds = arrival_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        most_held = MAX_STREAMED_BYTES if scope["method"] == "PUT" else limit
        stated = Headers(scope=scope).get("content-length", "")
        # The parser of HTTP refuses what has more than 64 bits.
        length = int(stated) if stated.isdecimal() else 0
        if length > limit:
            await _too_large(limit, f"{length:,} bytes")(scope, receive, send)
            return
        if not self.in_flight.has_room(min(length, most_held)):
            await _too_many_in_flight(scope)(scope, receive, send)
            return
        memory = HeldMemory(self.memory)
        scope.setdefault("state", {})["memory"] = memory
        count = held = 0
        is_arriving = True

        async def hold(body_bytes: int) -> None:
            try:
                await memory.hold(READ_FACTOR * body_bytes)
            except (CapacityError, MemoryInUse) as error:
                if isinstance(error, MemoryInUse):
                    scope["state"]["refusal_reason"] = MEMORY_IN_USE
                raise _BodyRefusedError(problem_of(error)) from None

        def hold_what_is_there() -> None:
            if is_arriving:
                memory.reduce(READ_FACTOR * held)

        async def receive_within_limit() -> Message:
            nonlocal count, held, is_arriving
            message = await receive()
            if message["type"] == "http.request" and is_arriving:
                count += len(message.get("body", b""))
                if count > limit:
                    raise _BodyRefusedError(_too_large(limit, "more"))
                more = min(count, most_held) - held
                if not self.in_flight.has_room(more, held):
                    raise _BodyRefusedError(_too_many_in_flight(scope))
                self.in_flight.count += more
                held += more
                if READ_FACTOR * held > memory.bytes:
                    await hold(held)
                is_arriving = message.get("more_body", False)
            return message

        problem: Problem | None = None
        patience: asyncio.TimerHandle | None = None
        try:
            if length:
                await hold(min(length, most_held))
                loop = asyncio.get_running_loop()
                patience = loop.call_later(self.arrival_seconds, hold_what_is_there)
            await self.app(scope, receive_within_limit, _InPieces(send))
        except _BodyRefusedError as refusal:
            problem = refusal.problem
        finally:
            if patience is not None:
                patience.cancel()
            self.in_flight.count -= held
            memory.release()
        # The exception held what had been read. The answer may wait for the rest of the body.
        if problem is not None:
            await problem(scope, receive, send)


class BytesInFlight:
    """Bytes of all bodies in memory, from their arrival to the answers.

    Attributes:
        limit: Most bytes.
        count: Bytes now.

    Args:
        limit: Most bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def has_room(self, more: int, held: int = 0) -> bool:
        """Return whether more bytes of a request are within the limit.

        A request whose body is the only one is never refused.

        Args:
            more: Further bytes of the request.
            held: Bytes of the request that are counted already.
        """
        return self.count + more <= self.limit or self.count == held


class _InPieces:
    """Sends an answer in pieces, each of which waits until the client has read most others.

    So a large answer is not in the buffer of the connection after its memory was released.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) <= PIECE_BYTES:
            await self._send(message)
            return
        rest, has_more = memoryview(body), message.get("more_body", False)
        while len(rest) > PIECE_BYTES:
            piece = {**message, "body": bytes(rest[:PIECE_BYTES]), "more_body": True}
            await self._send(piece)
            rest = rest[PIECE_BYTES:]
        await self._send({**message, "body": bytes(rest), "more_body": has_more})


class _BodyRefusedError(Exception):
    """Raised through the application, which has no handler for it, to the middleware.

    Args:
        problem: The answer.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def _too_large(limit: int, length: str) -> Problem:
    return Problem(
        413,
        f"the body may have {limit:,} bytes and has {length}",
        extra={"limit_bytes": limit},
    )


def _too_many_in_flight(scope: Scope) -> Problem:
    scope.setdefault("state", {})["refusal_reason"] = "bytes_in_flight"
    message = "the requests in progress have too many bytes together; try again"
    return unavailable(message, RETRY_SECONDS)
