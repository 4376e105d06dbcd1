"""Events of a run or an experiment: a bounded log that any thread writes and any number follow.

Readers pull. One that falls behind by more than the log holds finds a ``gap`` event in place of
what it missed; writers never wait for anyone.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

Payload = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: counts up by one from event to event.
        name: such as ``state``, ``progress``, ``step`` or ``gap``.
        payload: JSON data, or a function that makes it when somebody reads the event.
    """

    id: int
    name: str
    payload: Payload

    def to_bytes(self) -> bytes:
        """The event as ``text/event-stream`` has it."""
        data = self.payload() if callable(self.payload) else self.payload
        text = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.id, self.name.encode(), text)


class EventLog:
    """The newest events of one run or experiment.

    Args:
        loop: the event loop on which readers wait.
        capacity: events that are held.
        ids_before: ids up to this one may have been given before a restart of the server.
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
        """Id of the newest event; 0 before the first."""
        return self._last_id

    def append(self, name: str, payload: Payload) -> None:
        """Adds an event; from any thread, returns at once."""
        with self._lock:
            if self._closed:
                return
            self._last_id += 1
            self._events.append(Event(self._last_id, name, payload))
        self._wake()

    def close(self) -> None:
        """No event follows; readers end once they have read the rest."""
        with self._lock:
            self._closed = True
        self._wake()

    def after(self, event_id: int) -> tuple[list[Event], bool]:
        """The events after one, a gap in place of those that are gone; and whether more can come.

        An id that this log has not reached stands for another log of the same run, before a
        restart, and all events are new to its reader.
        """
        with self._lock:
            if event_id > self._last_id:
                event_id = 0
            events = [event for event in self._events if event.id > event_id]
            more = not self._closed
        oldest = events[0].id if events else event_id + 1
        if oldest > event_id + 1:
            # Nobody knows how many of the ids from before a restart were given.
            missed = oldest - 1 - event_id if event_id >= self._ids_before else None
            told = {"from": event_id + 1, "to": oldest - 1, "missed": missed}
            events.insert(0, Event(oldest - 1, "gap", told))
        return events, more

    async def follow(self, event_id: int, idle_seconds: float) -> AsyncIterator[list[Event]]:
        """The events after one, as they come; an empty list when nothing came for a while."""
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
        # One call to the loop serves all events until it is carried out; without a reader, none.
        with self._lock:
            if self._wake_pending or not self._waiting:
                return
            self._wake_pending = True
        try:
            self._loop.call_soon_threadsafe(self._wake_readers)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            return

    def _wake_readers(self) -> None:
        with self._lock:
            self._wake_pending = False
        for woken in self._waiting:
            woken.set()
