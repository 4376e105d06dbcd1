"""``CheckHost``: refuses requests that name another host than this server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.middleware.host_names import HostNames
from service.problems import MAX_CHARACTERS, OPEN_INFERENCE, Problem


class CheckHost:
    """Middleware that compares ``Host`` with the names of the server.

    A page can have its own name point to this machine (DNS rebinding). What it then sends to the
    server is of the same origin to the browser, and only ``Host`` tells the difference.

    Args:
        app: The application.
        names: The names of the server.
        is_open: Returns whether the server needs no key; if it does, names are compared only if
            there are any.
    """

    EXEMPT: Final = frozenset({"/livez", "/readyz", "/metrics"})
    EXEMPT_PREFIX: Final = f"{OPEN_INFERENCE}/health/"

    def __init__(self, app: ASGIApp, names: HostNames, is_open: Callable[[], bool]) -> None:
        self.app = app
        self.names = names
        self.is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        problem = self._find_problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await problem(scope, receive, send)

    def _find_problem(self, scope: Scope) -> Problem | None:
        given = [value for name, value in scope["headers"] if name == b"host"]
        path = scope["path"]
        is_compared = (self.names.is_configured or self.is_open()) and not (
            path in self.EXEMPT or path.startswith(self.EXEMPT_PREFIX)
        )
        if len(given) > 1:
            return Problem(400, "the request has several Host headers; send one")
        if not given:
            may_be_missing = scope["http_version"] == "1.0" and not is_compared
            return None if may_be_missing else Problem(400, "the request has no Host header")
        host = given[0].decode("latin-1")
        if not is_compared or self.names.allows(host):
            return None
        return Problem(
            421,
            f"this server does not have the name {host[:MAX_CHARACTERS]!r}; if it is meant to be "
            "reached by that name, start it with --allowed-hosts and the name, without a port",
        )
