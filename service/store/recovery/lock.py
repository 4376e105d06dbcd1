"""The locks of a data directory and of its index: one process at a time uses them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from service.store.index_file import find_index_file
from service.store.recovery.errors import DataDirInUseError

LOCK = "lock"
"""File in the data directory."""

INDEX_LOCK: Final = ".lock"
"""Suffix of the file beside that of an index."""

# File systems on which folders have no locks, such as NFS.
_UNSUPPORTED: Final = frozenset(
    (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
)


def lock_data_dir(folder: Path, advice: str) -> ExitStack:
    """Lock a data directory for this process until the returned stack is closed.

    Args:
        folder: The data directory.
        advice: What to do if another process has the lock.

    Raises:
        DataDirInUseError: Another process has the lock.
        OSError: The folder cannot be used.
    """
    message = f"another server uses the data directory {folder}; {advice}"
    with ExitStack() as held:
        # The folder itself: a file can be removed, and then a second process locks another one.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, descriptor)
        try:
            _lock(descriptor, message)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        # Servers of earlier versions lock the file alone.
        _lock_file(held, folder / LOCK, message)
        return held.pop_all()


def lock_index(url: URL, advice: str) -> ExitStack:
    """Lock an index for this process until the returned stack is closed.

    Only a file is locked, and only in a folder that exists. Another database has locks of its own,
    which would be taken here.

    Args:
        url: URL of the index.
        advice: What to do if another process has the lock.

    Raises:
        DataDirInUseError: Another process has the lock.
        OSError: The folder of the index cannot be used.
    """
    with ExitStack() as held:
        index = find_index_file(url)
        # The same file can have several paths. It is not locked itself: closing it would release
        # the locks of SQLite in this process.
        index = None if index is None else index.resolve()
        if index is not None and index.parent.is_dir():
            message = f"another server uses the index {index}; {advice}"
            _lock_file(held, index.with_name(index.name + INDEX_LOCK), message)
        return held.pop_all()


def _lock_file(held: ExitStack, path: Path, message: str) -> None:
    file = held.enter_context(path.open("ab", buffering=0))
    _lock(file.fileno(), message)
    # The lock counts, not the number; a full disk has no room for it.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())


def _lock(descriptor: int, message: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirInUseError(message) from None
