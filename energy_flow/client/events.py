"""Server-sent events of runs and experiments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from energy_flow.choices import ENDED_STATES, EventName

# A carriage return at the very end may be the first half of a line end, so it is left for later.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run, or of an experiment as the server sends it.

    Attributes:
        id: what a later request resumes after, or ``None``.
        event: its name, for example ``state``, ``progress``, ``step`` or ``gap``.
        data: its content.
    """

    id: str | None
    event: str
    data: Any

    @property
    def ended(self) -> bool:
        """Return whether the run or experiment has ended; no further event follows."""
        return (
            self.event == EventName.STATE
            and isinstance(self.data, dict)
            and self.data.get("state") in ENDED_STATES
        )


@dataclass
class EventParser:
    r"""A parser of event streams (WHATWG HTML, 9.2.6, interpreting an event stream).

    Lines are found in bytes, because only ``\r``, ``\n`` and ``\r\n`` end a line.
    ``str.splitlines`` also splits at other characters, which JSON may hold.

    Attributes:
        last_id: id of the last complete event.
        retry_seconds: the wait before a reconnection that the server asked for.
    """

    last_id: str | None = None
    retry_seconds: float | None = None
    _id: str | None = None
    _unread: bytes = b""
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Discard an event that a broken connection left incomplete."""
        self._id = self.last_id
        self._unread = b""
        self._event = ""
        self._data.clear()

    def feed(self, chunk: bytes) -> Iterator[RunEvent]:
        """Parse the next bytes of the stream.

        Args:
            chunk: any number of bytes, which may end anywhere in an event.

        Yields:
            The events that these bytes complete.
        """
        self._unread += chunk
        while end := _LINE_END.search(self._unread):
            line = self._unread[: end.start()].decode("utf-8", "replace")
            self._unread = self._unread[end.end() :]
            event = self._parse_line(line)
            if event is not None:
                yield event

    def _parse_line(self, line: str) -> RunEvent | None:
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
        # Not before: a connection may break between the id of an event and its end.
        self.last_id = self._id
        if not data:
            return None
        text = "\n".join(data)
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            content = text
        return RunEvent(self.last_id, name, content)
