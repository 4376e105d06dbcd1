"""``ApiKey``: requires the API key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import Problem


class ApiKey:
    """Middleware that requires ``Authorization: Bearer`` except for probes and open paths.

    Args:
        app: The application.
        key: The key; ``None`` if none is required.
        is_open: Returns whether a path needs no key.
    """

    OPEN: Final = frozenset({"/livez", "/readyz"})

    def __init__(self, app: ASGIApp, key: str | None, is_open: Callable[[str], bool]) -> None:
        self.app = app
        self.is_open = is_open
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or self.key is None or self._is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1", "replace"), self.key
        ):
            await self.app(scope, receive, send)
            return
        what = "the API key is wrong" if given else "the API key is missing"
        message = f"{what}; send Authorization: Bearer KEY"
        problem = Problem(401, message, headers={"WWW-Authenticate": "Bearer"})
        await problem(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self.OPEN or self.is_open(path)
