"""Servers whose answers are written down, for what a real one would seldom do when asked to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from energy_flow.client import FlowClient, Retry

Handler = Callable[[httpx.Request], httpx.Response]

ATTEMPTS = 2
QUICK = Retry(attempts=ATTEMPTS, first_wait=0.001)


def client_for(handler: Handler, retry: Retry = QUICK) -> FlowClient:
    return FlowClient("http://server", retry=retry, transport=httpx.MockTransport(handler))


def problem(status: int, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    document = {"type": "about:blank", "title": "No", "status": status, "detail": "because"}
    return httpx.Response(
        status,
        content=json.dumps({**document, **members}),
        headers={"content-type": "application/problem+json", **(headers or {})},
    )


class Recorder:
    """Answers requests one after the other and remembers them."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = iter(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


class BrokenStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Some bytes, and then the connection breaks."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content
        raise httpx.ReadError("reset")
