"""The connection of the asynchronous client to a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from energy_flow.client import calls
from energy_flow.client._async.listing import AsyncListing
from energy_flow.client.answers import json_as, page_of, read_nothing
from energy_flow.client.connection import (
    EVENTS_TIMEOUT,
    ClientArguments,
    early_end,
    no_response,
    read_file_async,
    read_reply,
    request_arguments,
    write_atomically,
)
from energy_flow.client.events import RunEvent
from energy_flow.client.exchange import NoResponse, Reply, Request
from energy_flow.client.polling import Polling, Work
from energy_flow.client.retry import Attempts, Retry
from energy_flow.client.subscription import Subscription

T = TypeVar("T")
W = TypeVar("W", bound=Work)


class AsyncConnection:
    """A connection to a server.

    Args:
        arguments: for httpx.
        retry: see the attribute.
        transport: carries the requests instead of the network, for tests.

    Attributes:
        retry: when a request is sent again.
    """

    def __init__(
        self, arguments: ClientArguments, retry: Retry, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self.retry = retry
        self._http = httpx.AsyncClient(**arguments, transport=transport)

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return str(self._http.base_url).rstrip("/")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, request: Request) -> Reply | NoResponse:
        """Send a request once.

        Args:
            request: the request; a successful answer is written to its file, if it names one.

        Returns:
            The answer, whatever its status, or why there is none.

        Raises:
            OSError: a file cannot be read or written.
        """
        try:
            arguments = request_arguments(request, read_file_async)
            async with self._http.stream(**arguments) as response:
                if request.save_to is None or not response.is_success:
                    await response.aread()
                    return read_reply(response)
                with write_atomically(request.save_to) as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
                return read_reply(response, with_body=False)
        except httpx.HTTPError as error:
            return no_response(error, self._http.base_url)

    async def ask(
        self, request: Request, read: Callable[[Reply], T], retry: Retry | None = None
    ) -> T:
        """Send a request until it succeeds, and read the answer.

        Args:
            request: the request.
            read: reads a successful answer.
            retry: in place of the connection's own.

        Raises:
            ProblemError: the server refused.
            FlowClientError: there was no answer, or ``read`` raised it.
        """
        attempts = Attempts(request, retry or self.retry)
        while True:
            reply = await self.send(request)
            if isinstance(reply, Reply) and reply.is_success:
                return read(reply)
            await asyncio.sleep(attempts.wait_after(reply))

    def items(
        self, path: str, item_type: type[T], page_size: int | None, **query: Any
    ) -> AsyncListing[T]:
        """Return a list that is read page by page.

        Args:
            path: of the list.
            item_type: type of the items.
            page_size: items per request; by default the server's choice.
            query: further parameters.
        """
        items = self._read_pages(path, item_type, page_size, query)
        return AsyncListing(f"{path} at {self.url}", items)

    async def _read_pages(
        self, path: str, item_type: type[T], page_size: int | None, query: Mapping[str, Any]
    ) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            request = calls.get(path, limit=page_size, cursor=cursor, **query)
            page = await self.ask(request, page_of(item_type))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def download(self, request: Request) -> Path:
        """Write the answer to the file that the request names, and return the path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        assert request.save_to is not None, "a download names a file"
        await self.ask(request, read_nothing)
        return request.save_to

    async def follow(self, subscription: Subscription) -> AsyncIterator[RunEvent]:
        """Read events until there are no more, over as many connections as are needed.

        Yields:
            The events.
        """
        while not subscription.over:
            ending: Reply | NoResponse = early_end(self._http.base_url)
            arguments = request_arguments(subscription.request(), read_file_async)
            try:
                async with self._http.stream(**arguments, timeout=EVENTS_TIMEOUT) as response:
                    if response.status_code == httpx.codes.OK:
                        async for chunk in response.aiter_bytes():
                            for event in subscription.feed(chunk):
                                yield event
                    else:
                        await response.aread()
                        ending = read_reply(response)
            except httpx.HTTPError as error:
                ending = no_response(error, self._http.base_url)
            if not subscription.over:
                await asyncio.sleep(subscription.wait_after(ending))

    async def wait_until_ended(
        self,
        name: str,
        path: str,
        result_type: type[W],
        later: Retry,
        on_progress: Callable[[W], object] | None,
        timeout_seconds: float | None,
    ) -> W:
        """Poll a run, an experiment or an ablation until it has ended.

        Args:
            name: its name in messages.
            path: its path.
            result_type: its type.
            later: when a request is sent again once it is known to exist: a restarted server
                continues with it.
            on_progress: called with it whenever it has changed.
            timeout_seconds: time limit; ``None`` for no limit.

        Raises:
            ResponseTimeout: it has not ended in time.
        """
        polling = Polling(timeout_seconds)
        last: W | None = None
        while True:
            retry = self.retry if last is None else later
            work = await self.ask(calls.get(path), json_as(result_type), retry)
            if on_progress is not None and work != last:
                on_progress(work)
            if work.ended:
                return work
            last = work
            await asyncio.sleep(polling.next_delay(f"{name} is still {work.state}"))

    async def is_up(self, probe: str) -> bool:
        """Return whether the server answers a probe with 200; no answer counts as no.

        Args:
            probe: path of the probe.
        """
        return _is_ok(await self.send(Request("GET", probe)))

    async def wait_until_ready(self, timeout_seconds: float | None) -> None:
        """Poll the server until it accepts requests.

        Args:
            timeout_seconds: time limit; ``None`` for no limit.

        Raises:
            ResponseTimeout: it is not ready in time.
        """
        polling = Polling(timeout_seconds)
        while True:
            reply = await self.send(Request("GET", "/readyz"))
            if _is_ok(reply):
                return
            reported = (
                f"no server answers at {self.url}"
                if isinstance(reply, NoResponse)
                else f"the server at {self.url} is not ready"
            )
            await asyncio.sleep(polling.next_delay(reported))


def _is_ok(reply: Reply | NoResponse) -> bool:
    return isinstance(reply, Reply) and reply.status == httpx.codes.OK
