"""``RequireKey``: requires an API key whose role allows the request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from energy_flow.choices import KeyRole
from service.media_types import EVENT_STREAM
from service.problems import OPEN_INFERENCE, Problem, unavailable
from service.store.keys.key_ring import ActiveKey, KeyRing

READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_INFER: Final = re.compile(rf"{OPEN_INFERENCE}/models/.+/infer")
_INDEX: Final = f"{OPEN_INFERENCE}/repository/index"
"""A ``POST`` that changes nothing."""
_LOADING: Final = re.compile(r"/v1/models/[^/]+/(load|unload)")


class RequireKey:
    """Middleware that requires ``Authorization: Bearer`` except for probes and open paths.

    The key is ``key`` of the state of the request.

    Args:
        app: The application.
        keys: The keys that can be used.
        is_open: Returns whether a path needs no key.
    """

    OPEN: Final = frozenset({"/livez", "/readyz"})

    def __init__(self, app: ASGIApp, keys: KeyRing, is_open: Callable[[str], bool]) -> None:
        self.app = app
        self.keys = keys
        self.is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or self.keys.is_open or self._is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        given = _read_bearer(scope)
        key = self.keys.find(given) if given else None
        if key is None:
            await self._refuse_unknown(given)(scope, receive, send)
            return
        scope.setdefault("state", {})["key"] = key
        needed = find_needed_role(scope["method"], scope["path"])
        if not key.role.allows(needed):
            await _refuse_role(key, needed)(scope, receive, send)
            return
        await self.app(scope, receive, self._end_when_revoked(key, send))

    def _end_when_revoked(self, key: ActiveKey, send: Send) -> Send:
        """Return ``send`` for a request with a key: a stream of events ends with the key."""
        is_stream = False

        async def send_while_active(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                media_type = Headers(raw=message["headers"]).get("content-type", "")
                is_stream = media_type.startswith(EVENT_STREAM)
            elif is_stream and message.get("more_body") and not self.keys.is_active(key):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                return
            await send(message)

        return send_while_active

    def _is_open(self, path: str) -> bool:
        return path in self.OPEN or self.is_open(path)

    def _refuse_unknown(self, given: bytes) -> Problem:
        if not self.keys.is_complete and (given or not self.keys.is_required):
            return unavailable("the server is starting; its API keys are not known yet")
        what = "the API key is wrong" if given else "the API key is missing"
        message = f"{what}; send Authorization: Bearer KEY"
        return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})


def find_needed_role(method: str, path: str) -> KeyRole:
    """Return the role that a request needs.

    Args:
        method: Its method.
        path: Its path.
    """
    if method in READING_METHODS or path == _INDEX:
        return KeyRole.READ
    if path.startswith(f"{OPEN_INFERENCE}/"):
        # Whatever else the protocol has there concerns the whole process.
        return KeyRole.RUN if _INFER.fullmatch(path) else KeyRole.ADMIN
    return KeyRole.ADMIN if _LOADING.fullmatch(path) else KeyRole.RUN


def _refuse_role(key: ActiveKey, needed: KeyRole) -> Problem:
    return Problem(
        403,
        f"this needs a key with the role {needed}; the key {key.name!r} has the role {key.role}",
        title="Role too low",
        extra={"role": str(key.role), "needed_role": str(needed)},
    )


def _read_bearer(scope: Scope) -> bytes:
    """Return the token of a request; nothing if it has none."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else b""
    return b""
