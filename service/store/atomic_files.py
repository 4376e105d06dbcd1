"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

UNFINISHED = ".part"
"""Suffix of a file that is still being written."""


class UnfinishedFile:
    """A file that is being written and gets its name once it is complete.

    Without a name it is removed by :meth:`close`, which every owner must call.

    Args:
        folder: Folder that will hold the file.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f".{uuid.uuid4().hex}{UNFINISHED}"
        self.file = self.path.open("xb+")

    def fsync(self) -> None:
        """Wait until everything written so far is on the disk.

        Raises:
            OSError: The file could not be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())

    def place(self, path: Path, *, durable: bool = True) -> None:
        """Give the file its name; it replaces any file of that name.

        Args:
            path: New path, in the same folder.
            durable: Whether to wait until the content is on the disk. The name is on the disk
                after an fsync of the folder.

        Raises:
            OSError: The file could not be written.
        """
        if durable:
            self.fsync()
        self.file.flush()
        self.path.replace(path)

    def close(self) -> None:
        """Close the file, and remove it if it has no name."""
        try:
            # A full disk may refuse the buffered rest.
            with contextlib.suppress(OSError):
                self.file.close()
        finally:
            self.path.unlink(missing_ok=True)


def write_file(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = True) -> None:
    """Write a file that appears complete or not at all.

    Args:
        path: Path of the file.
        write: Function that writes the content.
        durable: Whether to wait until the content is on the disk.

    Raises:
        OSError: The file could not be written; nothing is left of it.
    """
    with contextlib.closing(UnfinishedFile(path.parent)) as unfinished:
        write(unfinished.file)
        unfinished.place(path, durable=durable)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write bytes as :func:`write_file` does.

    Args:
        path: Path of the file.
        data: Content.
        durable: Whether to wait until the content is on the disk.

    Raises:
        OSError: The file could not be written; nothing is left of it.
    """
    write_file(path, lambda file: file.write(data), durable=durable)


def remove_path(path: Path) -> None:
    """Remove a file, or a folder with its content; nothing happens if there is none.

    Args:
        path: File or folder.

    Raises:
        OSError: It could not be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Args:
        path: File or folder.

    Raises:
        OSError: It could not be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
