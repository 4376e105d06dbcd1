"""``CheckPath``: refuses paths with control characters."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class CheckPath:
    """Middleware that refuses paths with control characters, before any key is checked.

    A route takes a path that ends in a line break for the one without it. Rules of the server, and
    of a proxy in front of it, take both for different paths.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and _CONTROL.search(scope["path"]):
            message = "there is nothing at this path; it has a control character"
            await Problem(404, message)(scope, receive, send)
            return
        await self.app(scope, receive, send)
