"""``BodyLimit``: limits the length of bodies."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware.refusal import refuse
from service.problems import Problem


class BodyLimit:
    """Middleware that refuses a body that is too large, by its stated length or while it is read.

    Args:
        app: The application.
        limit: Returns the most bytes that the body of a request may have.
    """

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        stated = Headers(scope=scope).get("content-length", "")
        # Longer numbers are refused before they get here.
        if stated.isdecimal() and int(stated[:18]) > limit:
            await refuse(_too_large(limit, f"{int(stated[:18]):,} bytes"), scope, receive, send)
            return
        count = 0

        async def receive_within_limit() -> Message:
            nonlocal count
            message = await receive()
            if message["type"] == "http.request":
                count += len(message.get("body", b""))
                if count > limit:
                    raise _BodyTooLargeError
            return message

        try:
            await self.app(scope, receive_within_limit, send)
        except _BodyTooLargeError:
            await refuse(_too_large(limit, "more"), scope, receive, send)


class _BodyTooLargeError(Exception):
    """Raised through the application, which has no handler for it, to the middleware."""


def _too_large(limit: int, length: str) -> Problem:
    return Problem(
        413,
        f"the body may have {limit:,} bytes and has {length}",
        extra={"limit_bytes": limit},
        headers={"Connection": "close"},
    )
