"""Polling: what is polled until it has ended, and the delays between the requests."""

from __future__ import annotations

import time
from typing import Protocol

from energy_flow.client.errors import ResponseTimeout

FIRST_DELAY = 0.05
MAX_DELAY = 1.0
GROWTH = 1.5


class Work(Protocol):
    """A run, an experiment or an ablation."""

    @property
    def state(self) -> str:
        """Return its state."""
        ...

    @property
    def ended(self) -> bool:
        """Return whether it is in a state that it never leaves."""
        ...


class Polling:
    """Delays that grow from 0.05 s to 1 s, within a time limit.

    Args:
        timeout: seconds from now; ``None`` sets no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._started = time.monotonic()
        self._delay = FIRST_DELAY

    def next_delay(self, reported: str) -> float:
        """Return the seconds to wait before the next request.

        Args:
            reported: what the last answer reported, for the message.

        Raises:
            ResponseTimeout: the time limit is over.
        """
        delay = self._delay
        self._delay = min(delay * GROWTH, MAX_DELAY)
        if self._timeout is None:
            return delay
        left = self._started + self._timeout - time.monotonic()
        if left <= 0:
            raise ResponseTimeout(f"{reported} after {self._timeout:g} s")
        return min(delay, left)
