"""The lock of a data directory: one process at a time uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from service.store.recovery.errors import DataDirInUseError

LOCK = "lock"


def lock_data_dir(folder: Path, advice: str) -> IO[bytes]:
    """Lock a data directory for this process while the returned file is open.

    Args:
        folder: The data directory.
        advice: What to do if another process has the lock.

    Raises:
        DataDirInUseError: Another process has the lock.
        OSError: The folder cannot be used.
    """
    file = (folder / LOCK).open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DataDirInUseError(
            f"another server uses the data directory {folder}; {advice}"
        ) from None
    # The lock counts, not the number; a full disk has no room for it.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
    return file
