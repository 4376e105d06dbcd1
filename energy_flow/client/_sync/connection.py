# Generated from energy_flow/client/_async/connection.py by scripts/unasync.py; edit that file.
"""The connection of the blocking client to a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from energy_flow.client import calls
from energy_flow.client._sync.listing import Listing
from energy_flow.client.answers import json_as, page_of, read_nothing
from energy_flow.client.connection import (
    EVENTS_TIMEOUT,
    ClientArguments,
    early_end,
    no_response,
    read_file,
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


class Connection:
    """A connection to a server.

    Args:
        arguments: for httpx.
        retry: see the attribute.
        transport: carries the requests instead of the network, for tests.

    Attributes:
        retry: when a request is sent again.
    """

    def __init__(
        self, arguments: ClientArguments, retry: Retry, transport: httpx.BaseTransport | None
    ) -> None:
        self.retry = retry
        self._http = httpx.Client(**arguments, transport=transport)

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, request: Request) -> Reply | NoResponse:
        """Send a request once.

        Args:
            request: the request; a successful answer is written to its file, if it names one.

        Returns:
            The answer, whatever its status, or why there is none.

        Raises:
            OSError: a file cannot be read or written.
        """
        try:
            arguments = request_arguments(request, read_file)
            with self._http.stream(**arguments) as response:
                if request.save_to is None or not response.is_success:
                    response.read()
                    return read_reply(response)
                with write_atomically(request.save_to) as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                return read_reply(response, with_body=False)
        except httpx.HTTPError as error:
            return no_response(error, self._http.base_url)

    def ask(self, request: Request, read: Callable[[Reply], T], retry: Retry | None = None) -> T:
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
            reply = self.send(request)
            if isinstance(reply, Reply) and reply.is_success:
                return read(reply)
            time.sleep(attempts.wait_after(reply))

    def items(
        self, path: str, item_type: type[T], page_size: int | None, **query: Any
    ) -> Listing[T]:
        """Return a list that is read page by page.

        Args:
            path: of the list.
            item_type: type of the items.
            page_size: items per request; by default the server's choice.
            query: further parameters.
        """
        items = self._read_pages(path, item_type, page_size, query)
        return Listing(f"{path} at {self.url}", items)

    def _read_pages(
        self, path: str, item_type: type[T], page_size: int | None, query: Mapping[str, Any]
    ) -> Iterator[T]:
        cursor: str | None = None
        while True:
            request = calls.get(path, limit=page_size, cursor=cursor, **query)
            page = self.ask(request, page_of(item_type))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def download(self, request: Request) -> Path:
        """Write the answer to the file that the request names, and return the path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        assert request.save_to is not None, "a download names a file"
        self.ask(request, read_nothing)
        return request.save_to

    def follow(self, subscription: Subscription) -> Iterator[RunEvent]:
        """Read events until there are no more, over as many connections as are needed.

        Yields:
            The events.
        """
        while not subscription.over:
            ending: Reply | NoResponse = early_end(self._http.base_url)
            arguments = request_arguments(subscription.request(), read_file)
            try:
                with self._http.stream(**arguments, timeout=EVENTS_TIMEOUT) as response:
                    if response.status_code == httpx.codes.OK:
                        for chunk in response.iter_bytes():
                            yield from subscription.feed(chunk)
                    else:
                        response.read()
                        ending = read_reply(response)
            except httpx.HTTPError as error:
                ending = no_response(error, self._http.base_url)
            if not subscription.over:
                time.sleep(subscription.wait_after(ending))

    def wait_until_ended(
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
            work = self.ask(calls.get(path), json_as(result_type), retry)
            if on_progress is not None and work != last:
                on_progress(work)
            if work.ended:
                return work
            last = work
            time.sleep(polling.next_delay(f"{name} is still {work.state}"))

    def is_up(self, probe: str) -> bool:
        """Return whether the server answers a probe with 200; no answer counts as no.

        Args:
            probe: path of the probe.
        """
        return _is_ok(self.send(Request("GET", probe)))

    def wait_until_ready(self, timeout_seconds: float | None) -> None:
        """Poll the server until it accepts requests.

        Args:
            timeout_seconds: time limit; ``None`` for no limit.

        Raises:
            ResponseTimeout: it is not ready in time.
        """
        polling = Polling(timeout_seconds)
        while True:
            reply = self.send(Request("GET", "/readyz"))
            if _is_ok(reply):
                return
            reported = (
                f"no server answers at {self.url}"
                if isinstance(reply, NoResponse)
                else f"the server at {self.url} is not ready"
            )
            time.sleep(polling.next_delay(reported))


def _is_ok(reply: Reply | NoResponse) -> bool:
    return isinstance(reply, Reply) and reply.status == httpx.codes.OK
