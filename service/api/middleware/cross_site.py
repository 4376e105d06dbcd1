"""``RefuseCrossSite``: refuses changes that another site had a browser send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.middleware.api_keys import READING_METHODS
from service.api.middleware.host_names import HostNames, split_host
from service.media_types import JSON
from service.problems import OPEN_INFERENCE, Problem

_READ: Final = frozenset(
    {b"content-type", b"host", b"origin", b"sec-fetch-site", b"x-forwarded-host"}
)
_OWN_SITES: Final = (b"same-origin", b"none")
_PORTS: Final = {"http": 80, "https": 443}
_FORM_TYPES: Final = (
    b"application/x-www-form-urlencoded",
    b"multipart/form-data",
    b"text/plain",
)
"""Types of bodies that a page can send to any site without asking it first."""


class RefuseCrossSite:
    """Middleware that refuses a request that may change something and comes from another site.

    Browsers state where a request comes from: always in ``Origin``, and where they trust the
    address also in ``Sec-Fetch-Site``. Scripts can set neither. Other programs send neither.

    Args:
        app: The application.
        names: The names of the server.
        allowed_origins: Origins of pages that may use the server.
    """

    def __init__(self, app: ASGIApp, names: HostNames, allowed_origins: Iterable[str]) -> None:
        self.app = app
        self.names = names
        self.allowed_origins = frozenset(origin.encode() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        if not self._is_allowed(headers):
            await _refuse_site(headers)(scope, receive, send)
        elif scope["path"].startswith(f"{OPEN_INFERENCE}/") and _has_form_type(headers):
            await _refuse_type(headers)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if site in _OWN_SITES or origin in self.allowed_origins:
            return True
        if site is not None:
            return False
        return origin is None or self._is_own(origin, headers)

    def _is_own(self, origin: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether an origin is this server, as far as its names and those of proxies go."""
        try:
            parts = urlsplit(origin.decode("latin-1"))
            host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            return False
        if not host:
            return False
        own = [headers.get(b"host", b""), *headers.get(b"x-forwarded-host", b"").split(b",")]
        for value in own:
            name = split_host(value.decode("latin-1").strip())
            # nginx's $host has no port.
            if name is not None and name[0] == host and name[1] in (None, port):
                return True
        return self.names.names(host)


def _refuse_site(headers: Mapping[bytes, bytes]) -> Problem:
    origin = headers.get(b"origin", b"unknown").decode("latin-1")
    return Problem(
        403,
        f"a page of another site (origin {origin}) sent this request; if that page may use the "
        "server, start it with --cors-origins; if it is a page of this server behind a proxy, let "
        "the proxy hand on Host, or start the server with --allowed-hosts",
        title="Cross-site request",
    )


def _has_form_type(headers: Mapping[bytes, bytes]) -> bool:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return media_type in _FORM_TYPES


def _refuse_type(headers: Mapping[bytes, bytes]) -> Problem:
    given = headers[b"content-type"].decode("latin-1")
    return Problem(415, f"Content-Type is {given}; send {JSON}", headers={"Accept-Post": JSON})
