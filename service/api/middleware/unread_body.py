"""``UnreadBody``: answers requests at once whose body nobody reads, and then lets it arrive."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_DISCARDED_BYTES: Final = 64 * 2**20
"""How much of the rest of a body is read and discarded: usually all of one that may be sent.

A connection that is closed with unread data is reset, and the client may never see the answer.
"""

DISCARD_SECONDS: Final = 5.0
"""How long the rest of a body is read and discarded."""

SILENT_SECONDS: Final = 1.0
"""How long the next part of it may take."""


class UnreadBody:
    """Middleware that completes answers to requests whose body has not arrived completely.

    The client gets the whole answer first. Then the rest of the body is discarded, within limits,
    and the connection is closed.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        body = _Body(receive, Headers(scope=scope).get("expect", "").lower() == "100-continue")

        async def send_and_discard(message: Message) -> None:
            if not body.is_complete and message["type"] == "http.response.start":
                await body.take_what_is_there()
                if not body.is_complete:
                    MutableHeaders(scope=message)["connection"] = "close"
            is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not body.is_complete and is_end:
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self.app(scope, body.receive, send_and_discard)


class _Body:
    """The body of a request.

    Attributes:
        is_complete: Whether nothing of it follows.

    Args:
        receive: Receives the body.
        is_awaited: Whether the client sends the body only after the server has asked for it, which
            reading does.
    """

    def __init__(self, receive: Receive, is_awaited: bool) -> None:
        self.is_complete = False
        self._receive = receive
        self._is_awaited = is_awaited

    async def receive(self) -> Message:
        """Return the next message of the connection."""
        self._is_awaited = False
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.is_complete = True
        return message

    async def take_what_is_there(self) -> None:
        """Discard what has arrived, without waiting for more."""
        if not self._is_awaited:
            try:
                async with asyncio.timeout(0):
                    while not self.is_complete:
                        await self.receive()
            except TimeoutError:
                return

    async def discard(self) -> None:
        """Discard the rest, within limits."""
        if self._is_awaited:
            return
        count = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.is_complete and count < MAX_DISCARDED_BYTES:
                    async with asyncio.timeout(SILENT_SECONDS):
                        count += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
