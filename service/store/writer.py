"""The thread that writes what the engine hands over, in order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

MOST_WAITING_BYTES = 256 * 2**20


class Writer:
    """Runs jobs one after the other on a thread of its own.

    Args:
        most_waiting_bytes: what jobs may hold while they wait, before :attr:`keeps_up` says no.
    """

    def __init__(self, most_waiting_bytes: int = MOST_WAITING_BYTES) -> None:
        self._limit = most_waiting_bytes
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="run-writer", daemon=True)

    @property
    def keeps_up(self) -> bool:
        """Whether more may be made; not while the disk is slower than the device."""
        return self._waiting_bytes < self._limit

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, job: Callable[[], None], size: int = 0) -> None:
        """Adds a job that holds ``size`` bytes, and returns at once."""
        with self._changed:
            self._jobs.append((job, size))
            self._waiting_bytes += size
            self._changed.notify()

    def stop(self) -> None:
        """Waits until all jobs are done, and ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._stopping)
                if not self._jobs:
                    return
                job, size = self._jobs.popleft()
            try:
                job()
            except Exception:
                log.exception("a writing job failed")
            # The job may hold arrays; they must be gone before their bytes are.
            del job
            with self._changed:
                self._waiting_bytes -= size
