"""The thread that writes results to the disk, in order."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 256 * 2**20


class Writer:
    """A thread that runs jobs one after the other.

    Args:
        max_waiting_bytes: Bytes that waiting jobs may hold before :attr:`keeps_up` is false.
    """

    def __init__(self, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._limit = max_waiting_bytes
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="run-writer", daemon=True)

    @property
    def keeps_up(self) -> bool:
        """Whether the waiting jobs hold few enough bytes for more jobs to be made."""
        return self._waiting_bytes < self._limit

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, job: Callable[[], None], size: int = 0) -> None:
        """Add a job and return at once.

        Args:
            job: Function to call.
            size: Bytes that the job holds.
        """
        with self._changed:
            self._jobs.append((job, size))
            self._waiting_bytes += size
            self._changed.notify()

    def stop(self) -> None:
        """Wait until all jobs are done, and end the thread."""
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
                log.exception("a write to the disk failed")
            # Free the arrays of the job before their bytes are subtracted.
            del job
            with self._changed:
                self._waiting_bytes -= size
