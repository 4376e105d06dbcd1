"""Refusals of requests whose body has not been read."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from service.problems import Problem

DISCARD_SECONDS: Final = 5.0
"""How long the rest of a refused body is read and discarded.

A connection that is closed with unread data is reset, and the client never sees the answer.
"""


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without the body; let the client send the rest, within limits.

    Args:
        problem: The refusal.
        scope: Scope of the connection.
        receive: Receives the body.
        send: Sends the answer.
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
    """Read and discard the rest of a body, for at most :data:`DISCARD_SECONDS`."""
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
