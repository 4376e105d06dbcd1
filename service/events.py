"""Events of a run or an experiment: a bounded log with writers on any thread and many readers.

Writers never wait for readers. A reader that falls behind by more than the log holds gets a ``gap``
event in place of the events that it missed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from energy_flow.choices import EventName

Payload = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: Number of the event; consecutive events have consecutive ids.
        name: Name, such as ``state``, ``progress``, ``step`` or ``gap``.
        payload: JSON data, or a function that returns it when the event is read.
    """

    id: int
    name: str
    payload: Payload

    def to_bytes(self) -> bytes:
        """Return the event in the form of ``text/event-stream``."""
        data = self.payload() if callable(self.payload) else self.payload
        text = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.id, self.name.encode(), text)


class EventLog:
    """The newest events of one run or experiment.

    Args:
        loop: Event loop on which readers wait.
        capacity: Most events that are held.
        ids_before: Largest id that may have been used before a restart of the server.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, capacity: int = CAPACITY, ids_before: int = 0
    ) -> None:
        self._loop = loop
        self._events: deque[Event] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self._last_id = self._ids_before = ids_before
        self._closed = False
        self._waiting: set[asyncio.Event] = set()
        self._wake_pending = False

    @property
    def last_id(self) -> int:
        """Id of the newest event; before the first one, ``ids_before``."""
        return self._last_id

    def append(self, name: str, payload: Payload) -> None:
        """Append an event; callable from any thread, returns at once.

        Args:
            name: Name of the event.
            payload: JSON data, or a function that returns it when the event is read.
        """
        with self._lock:
            if self._closed:
                return
            self._last_id += 1
            self._events.append(Event(self._last_id, name, payload))
        self._wake()

    def close(self) -> None:
        """Accept no further events; readers stop after the last one."""
        with self._lock:
            self._closed = True
        self._wake()

    def after(self, event_id: int) -> tuple[list[Event], bool]:
        """Return the events after an id, with a ``gap`` event in place of those no longer held.

        An id that this log has not reached belongs to a log before a restart: then all events are
        returned.

        Args:
            event_id: Id of the last event that the reader has; 0 for none.

        Returns:
            The events, and whether more events can follow.
        """
        with self._lock:
            if event_id > self._last_id:
                event_id = 0
            events = [event for event in self._events if event.id > event_id]
            more = not self._closed
        oldest = events[0].id if events else event_id + 1
        if oldest > event_id + 1:
            # How many of the ids before a restart were used is unknown.
            missed = oldest - 1 - event_id if event_id >= self._ids_before else None
            gap = {"from": event_id + 1, "to": oldest - 1, "missed": missed}
            events.insert(0, Event(oldest - 1, EventName.GAP, gap))
        return events, more

    async def follow(self, event_id: int, idle_seconds: float) -> AsyncIterator[list[Event]]:
        """Yield the events after an id as they are appended, until the log is closed.

        Args:
            event_id: Id of the last event that the reader has; 0 for none.
            idle_seconds: Seconds without an event after which an empty list is yielded.

        Yields:
            New events, in order.
        """
        woken = asyncio.Event()
        self._waiting.add(woken)
        try:
            while True:
                woken.clear()
                events, more = self.after(event_id)
                if events:
                    event_id = events[-1].id
                    yield events
                elif not more:
                    return
                else:
                    try:
                        await asyncio.wait_for(woken.wait(), idle_seconds)
                    except TimeoutError:
                        yield []
        finally:
            self._waiting.discard(woken)

    def _wake(self) -> None:
        # One call to the loop is enough for all events until it runs; without readers, none is.
        with self._lock:
            if self._wake_pending or not self._waiting:
                return
            self._wake_pending = True
        try:
            self._loop.call_soon_threadsafe(self._wake_readers)
        except RuntimeError:  # The loop is closed, so there are no readers.
            return

    def _wake_readers(self) -> None:
        with self._lock:
            self._wake_pending = False
        for woken in self._waiting:
            woken.set()
