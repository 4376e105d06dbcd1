"""``QueryLimit``: limits the number of query parameters."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem

MAX_PARAMETERS: Final = 1000
"""Most query parameters of a request, which are all parsed at once."""


class QueryLimit:
    """Middleware that refuses requests with very many query parameters.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            message = f"the request has more than {MAX_PARAMETERS:,} query parameters"
            problem = Problem(413, f"{message}, the most that are read")
            await problem(scope, receive, send)
            return
        await self.app(scope, receive, send)
