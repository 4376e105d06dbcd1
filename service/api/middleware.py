"""Pure ASGI middleware: request ids and the access log, the API key, availability, body limits.

None of it wraps a request in a task of its own, so that awaiting ``http.disconnect`` in a route
still sees the client hang up.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem, problem_of, unavailable

access_log = logging.getLogger("service.access")
error_log = logging.getLogger("service.errors")

REQUEST_ID = "x-request-id"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# How much of a refused body is read and thrown away, so that the client gets to the answer
# instead of a broken connection.
DISCARD_SECONDS = 5.0


class RequestIds:
    """Gives each request an id, logs it when it is answered, and answers what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SANE_REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                told = {"request_id": request_id, "run_id": _run_of(scope)}
                error_log.exception(
                    "%s %s %s", scope["method"], scope["path"], request_id, extra=told
                )
            if status is not None:
                raise
            await problem(scope, receive, send_with_id)
        finally:
            access_log.info(
                "%s %s %s %.1f ms %s",
                scope["method"],
                scope["path"],
                status if status is not None else "-",
                (time.perf_counter() - started) * 1e3,
                request_id,
                extra={"request_id": request_id, "run_id": _run_of(scope)},
            )


def _run_of(scope: Scope) -> str | None:
    """The run that a request made or asked for."""
    made = scope["state"].get("run_id")
    asked = scope.get("path_params", {}).get("run_id")
    return made or (asked if isinstance(asked, str) else None)


class ApiKey:
    """Asks for ``Authorization: Bearer`` everywhere but at the probes and at open paths."""

    OPEN = frozenset({"/livez", "/readyz"})

    def __init__(self, app: ASGIApp, key: str | None, is_open: Callable[[str], bool]) -> None:
        self.app = app
        self.is_open = is_open
        self.key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http" or self.key is None or self._needs_none(scope["path"]):
            await self.app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1", "replace"), self.key
        ):
            await self.app(scope, receive, send)
            return
        said = "the API key is wrong" if given else "send the API key: Authorization: Bearer KEY"
        problem = Problem(401, said, headers={"WWW-Authenticate": "Bearer"})
        await _refuse(problem, scope, receive, send)

    def _needs_none(self, path: str) -> bool:
        return path in self.OPEN or self.is_open(path)


class Availability:
    """Answers 503 while the server starts, and to new work while it drains.

    What is already there can still be read while it drains.
    """

    PREFIXES = ("/v1/", "/v2/", "/v2")
    ALWAYS = "/v2/health/live"

    def __init__(self, app: ASGIApp, state: Callable[[], str]) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(self.PREFIXES) and path != self.ALWAYS:
            state = self.state()
            reading = scope["method"] in ("GET", "HEAD", "OPTIONS")
            if state != "ready" and not (state == "draining" and reading):
                await _refuse(unavailable(f"the server is {state}"), scope, receive, send)
                return
        await self.app(scope, receive, send)


class BodyLimit:
    """Refuses a body beyond its limit: by its declared length, else while it is read."""

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            await _refuse(_too_large(limit, int(declared)), scope, receive, send)
            return
        read = 0

        async def receive_within() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    raise _BodyTooLargeError
            return message

        try:
            await self.app(scope, receive_within, send)
        except _BodyTooLargeError:
            await _refuse(_too_large(limit), scope, receive, send)


class _BodyTooLargeError(Exception):
    """Passes through the application, whose handlers do not know it, back to the middleware."""


def _too_large(limit: int, declared: int | None = None) -> Problem:
    said = "more" if declared is None else f"{declared:,} bytes"
    return Problem(
        413,
        f"the body may have {limit:,} bytes and has {said}",
        extra={"limit_bytes": limit},
        headers={"Connection": "close"},
    )


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without the body; a client in the middle of sending it is let finish, within bounds.

    Closing a connection with unread data resets it, and the client would never see the answer.
    """
    headers = Headers(scope=scope)
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    if has_body:
        problem.headers["Connection"] = "close"
    # A client that waits for "100 Continue" has not begun to send; reading would ask it to.
    if has_body and headers.get("expect", "").lower() != "100-continue":
        await discard_body(receive)
    await problem(scope, receive, send)


async def discard_body(receive: Receive) -> None:
    """Reads and forgets the rest of a body, for at most :data:`DISCARD_SECONDS`."""
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
