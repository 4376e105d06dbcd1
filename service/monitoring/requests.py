"""``CountRequests``: middleware that counts requests by the templates of their routes."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.monitoring.instruments import OTHER, Instruments
from service.problems import TITLES


class CountRequests:
    """Middleware that counts each request when its answer is complete."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self.app = app
        self.instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: int | None = None

        async def send_and_observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        self.instruments.request_began()
        try:
            await self.app(scope, receive, send_and_observe)
        finally:
            seconds = time.perf_counter() - started
            reason = scope.get("state", {}).get("refusal_reason") or find_reason(status)
            self.instruments.request_ended(
                scope["method"], find_route(scope), status, reason, seconds
            )


def find_route(scope: Scope) -> str:
    """Return the template of a request's route; ``other`` if it has none."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else OTHER


def find_reason(status: int | None) -> str | None:
    """Return the reason of a refusal by its status; ``None`` if it is no refusal."""
    if status is None or status < 400:
        return None
    return TITLES.get(status, "Refused").lower().replace(" ", "_")
