"""``BodyLimit``: limits the length of bodies, and of all bodies together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem, unavailable

MAX_STREAMED_BYTES: Final = 2 * 2**20
"""How much of a file is in memory that is streamed to the disk, at most."""

RETRY_SECONDS: Final = 2
"""When to try again where bodies in memory are too large together."""


class BodyLimit:
    """Middleware that refuses a body that is too large, by its stated length or while it is read.

    Args:
        app: The application.
        limit: Returns the most bytes that the body of a request may have.
        in_flight: Bytes of all bodies in memory.
    """

    def __init__(
        self, app: ASGIApp, limit: Callable[[Scope], int], in_flight: BytesInFlight
    ) -> None:
        self.app = app
        self.limit = limit
        self.in_flight = in_flight

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
            await _refuse_in_flight(scope, receive, send)
            return
        count = held = 0

        async def receive_within_limit() -> Message:
            nonlocal count, held
            message = await receive()
            if message["type"] == "http.request":
                count += len(message.get("body", b""))
                if count > limit:
                    raise _BodyTooLargeError
                more = min(count, most_held) - held
                if not self.in_flight.has_room(more, held):
                    raise _TooManyInFlightError
                self.in_flight.count += more
                held += more
            return message

        try:
            await self.app(scope, receive_within_limit, send)
        except _BodyTooLargeError:
            await _too_large(limit, "more")(scope, receive, send)
        except _TooManyInFlightError:
            await _refuse_in_flight(scope, receive, send)
        finally:
            self.in_flight.count -= held


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


class _BodyTooLargeError(Exception):
    """Raised through the application, which has no handler for it, to the middleware."""


class _TooManyInFlightError(Exception):
    """Likewise."""


def _too_large(limit: int, length: str) -> Problem:
    return Problem(
        413,
        f"the body may have {limit:,} bytes and has {length}",
        extra={"limit_bytes": limit},
    )


async def _refuse_in_flight(scope: Scope, receive: Receive, send: Send) -> None:
    scope.setdefault("state", {})["refusal_reason"] = "bytes_in_flight"
    message = "the requests in progress have too many bytes together; try again"
    await unavailable(message, RETRY_SECONDS)(scope, receive, send)
