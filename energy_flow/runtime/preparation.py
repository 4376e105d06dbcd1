"""How long this process has waited for compiled code."""

from __future__ import annotations

import threading


class PreparationClock:
    """The time in which code was compiled, or read from a cache. Threads may share it."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._seconds

    def add(self, seconds: float) -> None:
        """Add the time of one compilation."""
        with self._lock:
            self._seconds += seconds


PREPARATION = PreparationClock()
"""That of this process."""
