"""``HeadRequests``: answers HEAD wherever GET is."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Middleware that answers HEAD as GET, without the body (RFC 9110, section 9.3.2).

    The application is ended once it begins to send the body, so that files and traces are not read
    for nothing.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                raise _HeadSentError
            await send(message)

        # A copy, because the server reads the method when it sends the answer.
        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive, send_head)
        except _HeadSentError:
            await send({"type": "http.response.body", "body": b""})
        finally:
            # The log has what the routing found, such as the run.
            scope.update(inner, method="HEAD")


class _HeadSentError(Exception):
    """Raised through the application, which has no handler for it, to the middleware."""
