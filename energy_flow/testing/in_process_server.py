"""``InProcessServer``: answers requests of the clients in the same process, without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx

from energy_flow.client import AsyncFlowClient, FlowClient, Retry

QUICK_RETRY: Final = Retry(attempts=2, first_wait=0.001)
"""Sends a request again at most twice, after a millisecond."""

_URL: Final = "http://server"


class InProcessServer:
    """A server in the same process, whose answers a function makes.

    Args:
        answer: returns the answer to a request, or raises an ``httpx.HTTPError`` that breaks the
            connection, for example ``httpx.ConnectError("refused")``.

    Attributes:
        requests: requests so far, in their order.
    """

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer

    @property
    def transport(self) -> httpx.MockTransport:
        """Transport for a client that the test itself creates."""
        return httpx.MockTransport(self._record_and_answer)

    def client(self, retry: Retry = QUICK_RETRY) -> FlowClient:
        """Return a client of this server.

        Args:
            retry: when the client sends a request again.
        """
        return FlowClient(_URL, retry=retry, transport=self.transport)

    def async_client(self, retry: Retry = QUICK_RETRY) -> AsyncFlowClient:
        """Return an asynchronous client of this server.

        Args:
            retry: when the client sends a request again.
        """
        return AsyncFlowClient(_URL, retry=retry, transport=self.transport)

    def _record_and_answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)
