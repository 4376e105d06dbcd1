"""The thread that makes what was written safe from a power cut, a little later.

A caller who waits for an answer does not wait for the disk. Until a run is safe its row says so,
and the next start looks whether its files are whole.
"""

from __future__ import annotations

import logging
import os
import threading

from service.store.archive import RunArchive

log = logging.getLogger(__name__)

# Lets runs that come one after the other be made safe together, and not while the next one runs.
DELAY_SECONDS = 0.5

# Beyond it, asking for everything at once is quicker than file by file.
MOST_SINGLY = 8


class SafetyThread:
    """Makes ended runs safe, in batches."""

    def __init__(self, archive: RunArchive) -> None:
        self._archive = archive
        self._waiting: list[str] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="run-safety", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, run_id: str) -> None:
        """Adds an ended run, and returns at once."""
        with self._changed:
            self._waiting.append(run_id)
            self._changed.notify()

    def stop(self) -> None:
        """Waits until all runs are safe, and ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                self._changed.wait_for(lambda: self._stopping, DELAY_SECONDS)
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                if len(batch) > MOST_SINGLY:
                    os.sync()
                self._archive.make_safe(batch, sync=len(batch) <= MOST_SINGLY)
            except Exception:
                log.exception("%d runs could not be made safe", len(batch))
