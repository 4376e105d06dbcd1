"""``PathPrefix``: the server below a path of a proxy, such as ``/energy``."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import is_path_prefix


class PathPrefix:
    """Middleware for a server below a path of a proxy.

    The path may arrive with the prefix or without it. The application sees it without, and has the
    prefix as ``path_prefix`` of the state of the request. It is not ``root_path`` of the scope: the
    router would remove that once more, and serve another path than the one that was checked.
    ``Location`` of answers gets the prefix.

    Args:
        app: The application.
        prefix: The prefix; if it is empty, the header ``X-Forwarded-Prefix`` has it.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        prefix = self.prefix or _read_forwarded_prefix(scope)
        if not prefix:
            await self.app(scope, receive, send)
            return

        async def send_with_prefix(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/"):
                    headers["location"] = prefix + location
            await send(message)

        path = scope["path"]
        if path == prefix:
            # Pages have addresses relative to their folder.
            await RedirectResponse(f"{prefix}/", 307)(scope, receive, send)
            return
        if path.startswith(f"{prefix}/"):
            scope["path"] = path.removeprefix(prefix)
        scope.setdefault("state", {})["path_prefix"] = prefix
        await self.app(scope, receive, send_with_prefix)


def _read_forwarded_prefix(scope: Scope) -> str:
    """Return the header's value; nothing if it is no path, because answers repeat it."""
    prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
    return prefix if is_path_prefix(prefix) else ""
