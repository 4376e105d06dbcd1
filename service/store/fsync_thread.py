"""The thread that waits for the disk after a run has ended, so that no caller has to.

Until the files of a run are on the disk, its row is marked as not safe, and the next start checks
whether they are complete.
"""

from __future__ import annotations

import logging
import os
import threading

from service.store.archive import RunArchive

log = logging.getLogger(__name__)

# Runs that end shortly after each other share one fsync, which does not slow down the next run.
DELAY_SECONDS = 0.5

# Above this, one sync of the whole disk is faster than one fsync per file.
MAX_SINGLE_RUNS = 8


class FsyncThread:
    """A thread that brings the files of ended runs to the disk, in batches.

    Args:
        archive: The archive of the runs.
    """

    def __init__(self, archive: RunArchive) -> None:
        self._archive = archive
        self._waiting: list[str] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="run-fsync", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, run_id: str) -> None:
        """Add an ended run and return at once."""
        with self._changed:
            self._waiting.append(run_id)
            self._changed.notify()

    def stop(self) -> None:
        """Wait until the files of all runs are on the disk, and end the thread."""
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
                if len(batch) > MAX_SINGLE_RUNS:
                    os.sync()
                self._archive.fsync(batch, is_synced=len(batch) > MAX_SINGLE_RUNS)
            except Exception:
                log.exception("the files of %d runs could not be written to the disk", len(batch))
