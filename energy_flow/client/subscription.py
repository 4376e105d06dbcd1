"""A stream of events that continues after its connection breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from energy_flow.client.errors import FlowClientError
from energy_flow.client.events import EventParser, RunEvent
from energy_flow.client.exchange import NoResponse, Reply, Request, read_problem
from energy_flow.client.retry import BUSY_STATUSES, GATEWAY_STATUSES, Retry


class Subscription:
    """A stream of events over any number of connections.

    A client sends :meth:`request` and passes the body to :meth:`feed`. Unless the subscription is
    then :attr:`over`, it waits for :meth:`wait_after` and sends the request again.

    Args:
        path: of the events.
        retry: how often and how long to reconnect.
        last_event_id: the events after this one; by default all that the server holds.
        on_connection: called with the reason before each wait for a connection, and with ``None``
            once there is a connection again.

    Attributes:
        over: whether no further event follows.
    """

    def __init__(
        self,
        path: str,
        retry: Retry,
        last_event_id: str | None = None,
        on_connection: Callable[[FlowClientError | None], object] | None = None,
    ) -> None:
        self._path = path
        self._retry = retry
        self._failures = 0
        self._failing_since = 0.0
        self._parser = EventParser(last_id=last_event_id)
        self._on_connection = on_connection
        self.over = False

    def request(self) -> Request:
        """Return the request for the events after the last complete one."""
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self._parser.last_id is not None:
            headers["last-event-id"] = self._parser.last_id
        self._parser.reset()
        return Request("GET", self._path, headers=headers)

    def feed(self, chunk: bytes) -> Iterator[RunEvent]:
        """Parse bytes of the stream; any of them prove that the connection works.

        Args:
            chunk: the next bytes.

        Yields:
            The events that these bytes complete.
        """
        if self._failures and self._on_connection is not None:
            self._on_connection(None)
        self._failures = 0
        for event in self._parser.feed(chunk):
            self.over = self.over or event.ended
            yield event

    def wait_after(self, ending: Reply | NoResponse) -> float:
        """Return the seconds to wait before the next connection.

        Args:
            ending: how the last connection ended.

        Raises:
            ProblemError: the server refused.
            FlowClientError: too many connections failed one after the other.
        """
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        retry_after = self._parser.retry_seconds
        if isinstance(ending, NoResponse):
            error = ending.error
        else:
            problem = read_problem(ending)
            if problem.status not in BUSY_STATUSES | GATEWAY_STATUSES:
                raise problem
            error, retry_after = problem, problem.retry_after
        wait = self._retry.wait(self._failures, retry_after, now - self._failing_since)
        if wait is None:
            raise error
        if self._on_connection is not None:
            self._on_connection(error)
        self._failures += 1
        return wait
