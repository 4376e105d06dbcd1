"""Server-sent events of work on a server, and how to go on after the connection breaks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from energy_flow.client.errors import FlowClientError
from energy_flow.client.exchange import (
    BUSY_STATUSES,
    GATEWAY_STATUSES,
    Lost,
    Reply,
    Request,
    Retry,
    read_problem,
)

ENDED_STATES = frozenset({"succeeded", "failed", "cancelled"})
"""States of a run, an experiment or a trial that it never leaves."""

# A carriage return at the very end may be the first half of a line end, so it must wait.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run, or of an experiment as it comes over the wire.

    Attributes:
        id: what the server resumes after, or ``None``.
        event: its name, for example ``state``, ``progress``, ``step`` or ``gap``.
        data: its payload.
    """

    id: str | None
    event: str
    data: Any

    @property
    def ended(self) -> bool:
        """Whether what it tells of has ended and no further event follows."""
        return (
            self.event == "state"
            and isinstance(self.data, dict)
            and self.data.get("state") in ENDED_STATES
        )


@dataclass
class EventParser:
    """Turns the bytes of an event stream into events, as the WHATWG standard says.

    Lines are found in bytes: a text's line ends are more than the standard's, and JSON may hold
    them.
    """

    last_id: str | None = None  # of the last complete event
    retry_seconds: float | None = None
    _id: str | None = None
    _unread: bytes = b""
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Forgets an event that a broken connection left incomplete."""
        self._id = self.last_id
        self._unread = b""
        self._event = ""
        self._data.clear()

    def feed(self, chunk: bytes) -> Iterator[RunEvent]:
        """Takes the next bytes, however they were cut; yields the events that they complete."""
        self._unread += chunk
        while end := _LINE_END.search(self._unread):
            line = self._unread[: end.start()].decode("utf-8", "replace")
            self._unread = self._unread[end.end() :]
            event = self._take(line)
            if event is not None:
                yield event

    def _take(self, line: str) -> RunEvent | None:
        if not line:
            return self._complete()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isdecimal():
                self.retry_seconds = int(value) / 1000
            case _:  # a comment, which keeps the connection open, or an unknown field
                pass
        return None

    def _complete(self) -> RunEvent | None:
        name, data = self._event or "message", self._data
        self._event, self._data = "", []
        # Only now: a connection may break between an event's id and its end.
        self.last_id = self._id
        if not data:
            return None
        text = "\n".join(data)
        try:
            payload = orjson.loads(text)
        except orjson.JSONDecodeError:
            payload = text
        return RunEvent(self.last_id, name, payload)


class Subscription:
    """An event stream across any number of connections.

    A client sends :meth:`request`, feeds the body to :meth:`feed` and, unless all is then
    :attr:`over`, waits :meth:`reconnect_after` and sends the request again.

    Args:
        on_connection: told why there is no connection, before every wait for one, and ``None``
            once there is one again.

    Attributes:
        over: whether there is nothing more to come.
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
        """Asks for the events after the last one seen."""
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self._parser.last_id is not None:
            headers["last-event-id"] = self._parser.last_id
        self._parser.reset()
        return Request("GET", self._path, headers=headers)

    def feed(self, chunk: bytes) -> Iterator[RunEvent]:
        """Takes bytes of the stream; any of them prove the connection good."""
        if self._failures and self._on_connection is not None:
            self._on_connection(None)
        self._failures = 0
        for event in self._parser.feed(chunk):
            self.over = self.over or event.ended
            yield event

    def reconnect_after(self, ending: Reply | Lost) -> float:
        """Seconds to wait before connecting again, by how the last connection ended.

        Raises:
            ProblemError: the server refuses.
            FlowClientError: it was tried often enough in a row.
        """
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        after = self._parser.retry_seconds
        if isinstance(ending, Lost):
            error = ending.error
        else:
            problem = read_problem(ending)
            if problem.status not in BUSY_STATUSES | GATEWAY_STATUSES:
                raise problem
            error, after = problem, problem.retry_after
        wait = self._retry.wait(self._failures, after, now - self._failing_since)
        if wait is None:
            raise error
        if self._on_connection is not None:
            self._on_connection(error)
        self._failures += 1
        return wait
