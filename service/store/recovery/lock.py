"""The locks of a data directory and of its index: one process at a time uses them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from service.problems import UnusablePath
from service.store.index_file import find_index_file
from service.store.recovery.errors import DataDirInUseError

log = logging.getLogger(__name__)

LOCK = "lock"
"""File in the data directory."""

INDEX_LOCK: Final = ".lock"
"""Suffix of the file beside that of an index."""

# File systems on which folders have no locks, such as NFS.
_UNSUPPORTED: Final = frozenset(
    (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
)


_LOSS_ADVICE: Final = (
    "stop this server, and start it again once no other server uses the index; leave the file of "
    "the lock alone while a server runs"
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
        held.enter_context(_lock_file(folder / LOCK, message))
        return held.pop_all()


class IndexLock:
    """The lock of an index for this process, from the start of a block to its end.

    Only a file is locked, and only in a folder that exists. An index in PostgreSQL has a
    :class:`~service.store.recovery.server_lock.ServerLock`; one in another database has none.

    Args:
        url: URL of the index.
        advice: What to do if another process has the lock.
    """

    def __init__(self, url: URL, advice: str) -> None:
        index = find_index_file(url)
        # The same file can have several paths. It is not locked itself: closing it would release
        # the locks of SQLite in this process.
        index = None if index is None else index.resolve()
        self._message = f"another server uses the index {index}; {advice}"
        self._path: Path | None = None
        if index is not None and index.parent.is_dir():
            self._path = index.with_name(index.name + INDEX_LOCK)
        self._file: FileIO | None = None
        # Any thread that commits looks for a loss.
        self._changing = threading.Lock()

    def __enter__(self) -> IndexLock:
        """Lock the index.

        Raises:
            DataDirInUseError: Another process has the lock.
            OSError: The folder of the index cannot be used.
        """
        if self._path is not None:
            self._file = _lock_file(self._path, self._message)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def find_loss(self) -> UnusablePath | None:
        """Return why the index is locked no more, if so; a lock whose file is gone is taken again.

        Somebody can remove the file of the lock, and then a second process locks a new one.
        """
        with self._changing:
            if self._path is None or self._file is None or self._file.closed:
                return None
            try:
                if os.path.samestat(os.fstat(self._file.fileno()), self._path.stat()):
                    return None
                why = "it is another one, so another server has used the index"
            except FileNotFoundError:
                try:
                    again = _lock_file(self._path, self._message)
                except DataDirInUseError:
                    why = "another server uses the index"
                except OSError:
                    # Where there is no such folder, the index is not at its path either.
                    return None
                else:
                    log.warning("made and locked %s again, which was removed", self._path)
                    self._file.close()
                    self._file = again
                    return None
            except OSError:
                # Without permission to look it up, nothing is known.
                return None
            return UnusablePath(self._path, why, _LOSS_ADVICE)


def _lock_file(path: Path, message: str) -> FileIO:
    """Open a file and lock it until it is closed."""
    file = path.open("ab", buffering=0)
    try:
        _lock(file.fileno(), message)
    except BaseException:
        file.close()
        raise
    # The lock counts, not the number; a full disk has no room for it.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
    return file


def _lock(descriptor: int, message: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirInUseError(message) from None
