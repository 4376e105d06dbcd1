"""Carries out the client's dialogues over a connection that blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from energy_flow.client import calls, dialogues
from energy_flow.client.connection import (
    EVENTS_TIMEOUT,
    ClientArguments,
    file_pieces,
    lost,
    replacing,
    reply_of,
    request_arguments,
    stream_ended,
)
from energy_flow.client.dialogues import Page
from energy_flow.client.events import RunEvent, Subscription
from energy_flow.client.exchange import (
    Dialogue,
    Lost,
    Pause,
    Reply,
    Request,
    Retry,
    ask,
    read_nothing,
)

T = TypeVar("T")


class BlockingConnection:
    """A server's address, and what it takes to talk with it.

    Attributes:
        retry: how often a busy server is asked again.
    """

    def __init__(
        self, arguments: ClientArguments, retry: Retry, transport: httpx.BaseTransport | None
    ) -> None:
        self.retry = retry
        self._http = httpx.Client(**arguments, transport=transport)

    @property
    def url(self) -> str:
        """Address of the server."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def ask(self, request: Request, read: Callable[[Reply], T]) -> T:
        """Sends a request and parses the answer."""
        return self.carry_out(ask(request, read, self.retry))

    def items(
        self, path: str, read: Callable[[Any], T], page_size: int | None, **query: Any
    ) -> Iterator[T]:
        """Every item of a list, read page by page."""
        cursor: str | None = None
        while True:
            request = calls.get(path, limit=page_size, cursor=cursor, **query)
            page: Page[T] = self.ask(request, dialogues.page_of(read))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def download(self, request: Request) -> Path:
        """Writes an answer to the file that the request names."""
        assert request.save_to is not None, "a download has a place to go to"
        self.ask(request, read_nothing)
        return request.save_to

    def follow(self, subscription: Subscription) -> Iterator[RunEvent]:
        """Events until there are no more, over as many connections as that takes."""
        while not subscription.over:
            ending: Reply | Lost = stream_ended(self._http.base_url)
            arguments = request_arguments(subscription.request(), file_pieces)
            try:
                with self._http.stream(**arguments, timeout=EVENTS_TIMEOUT) as response:
                    if response.status_code == httpx.codes.OK:
                        for chunk in response.iter_bytes():
                            yield from subscription.feed(chunk)
                    else:
                        response.read()
                        ending = reply_of(response)
            except httpx.HTTPError as error:
                ending = lost(error, self._http.base_url)
            if not subscription.over:
                time.sleep(subscription.reconnect_after(ending))

    def carry_out(self, dialogue: Dialogue[T]) -> T:
        """Sends what the dialogue wants to send, waits where it waits, returns its result."""
        answer: Reply | Lost | None = None
        while True:
            try:
                act = dialogue.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(act, Pause):
                time.sleep(act.seconds)
                answer = None
            else:
                answer = self._send(act)

    def _send(self, request: Request) -> Reply | Lost:
        try:
            arguments = request_arguments(request, file_pieces)
            with self._http.stream(**arguments) as response:
                if request.save_to is None or not response.is_success:
                    response.read()
                    return reply_of(response)
                with replacing(request.save_to) as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                return reply_of(response, with_body=False)
        except httpx.HTTPError as error:
            return lost(error, self._http.base_url)
