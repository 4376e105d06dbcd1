"""``Availability``: answers 503 while the server starts or drains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from energy_flow.choices import ServerState
from service.api.middleware.api_keys import READING_METHODS
from service.problems import unavailable


class Availability:
    """Middleware that answers 503 while the server starts, and to new work while it drains.

    Stored results can be read while the server drains.

    Args:
        app: The application.
        state: Returns the state of the server.
    """

    PREFIXES: Final = ("/v1/", "/v2/", "/v2")
    LIVE: Final = "/v2/health/live"

    def __init__(self, app: ASGIApp, state: Callable[[], ServerState]) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(self.PREFIXES) and path != self.LIVE:
            state = self.state()
            is_reading = scope["method"] in READING_METHODS
            if state != ServerState.READY and not (state == ServerState.DRAINING and is_reading):
                await unavailable(f"the server is {state}")(scope, receive, send)
                return
        await self.app(scope, receive, send)
