"""Room on the disk that is kept for removals.

A removal also writes: SQLite needs room for its log before any file is gone. On a full disk, a file
of the data directory gives up its room for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from service.store.atomic_files import fsync

log = logging.getLogger(__name__)

RESERVE = "reserve"
"""Name of the file in the data directory."""

RESERVED_BYTES = 512 * 1024
"""Size of the file. SQLite writes each page that a removal changes, and 32 KiB for its log."""

MIN_FREE = 4
"""The file is made only if its size is free this many times."""


class DiskReserve:
    """The file that is removed when a removal needs its room, and made again afterwards.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def restore(self) -> None:
        """Make the file, if it does not exist and there is enough room for it."""
        try:
            if self._path.exists() or self._free() < MIN_FREE * RESERVED_BYTES:
                return
            with self._path.open("wb") as file:
                # A disk may store zeros without using room.
                file.write(os.urandom(RESERVED_BYTES))
                file.flush()
                os.fsync(file.fileno())
            fsync(self._path.parent)
        except OSError as error:
            log.warning("no room could be reserved for removals: %s", error)
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Remove the file, whose room is free then."""
        self._path.unlink(missing_ok=True)

    def _free(self) -> int:
        return shutil.disk_usage(self._path.parent).free
