"""Middleware that counts requests, by the templates of their routes."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.monitoring.instruments import OTHER, Instruments
from service.problems import TITLES


class CountRequests:
    """Counts each request when its answer is complete."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self.app = app
        self.instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: int | None = None

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        self.instruments.request_began()
        try:
            await self.app(scope, receive, send_noting)
        finally:
            seconds = time.perf_counter() - began
            self.instruments.request_ended(
                scope["method"], route_of(scope), status, reason_of(status), seconds
            )


def route_of(scope: Scope) -> str:
    """The template of the route that a request came to; the same one word for all others."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else OTHER


def reason_of(status: int | None) -> str | None:
    """What a refusal was for, in a word; none where there was none."""
    if status is None or status < 400:
        return None
    return TITLES.get(status, "Refused").lower().replace(" ", "_")
