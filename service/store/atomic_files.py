"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

UNFINISHED = ".part"
"""Suffix of a file that is still being written."""


class UnfinishedFile:
    """A file that is being written; it gets a name once it is complete, else nothing is left of it.

    To be closed in any case.

    Args:
        folder: where it will be.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f".{uuid.uuid4().hex}{UNFINISHED}"
        self.file = self.path.open("xb+")

    def make_safe(self) -> None:
        """Waits until what was written so far is safely on the disk.

        Raises:
            OSError: it could not be written.
        """
        self.file.flush()
        os.fsync(self.file.fileno())

    def place(self, path: Path, *, sync: bool = True) -> None:
        """Gives it its name, which replaces whatever had it.

        Args:
            path: in the same folder.
            sync: wait until it is safely on the disk; its name is safe once the folder is.

        Raises:
            OSError: it could not be written.
        """
        if sync:
            self.make_safe()
        self.file.flush()
        self.path.replace(path)

    def close(self) -> None:
        """Ends the writing; without a name, it is removed."""
        try:
            # What is still in its buffer may not fit on the disk either.
            with contextlib.suppress(OSError):
                self.file.close()
        finally:
            self.path.unlink(missing_ok=True)


def write_file(path: Path, write: Callable[[IO[bytes]], object], *, sync: bool = True) -> None:
    """Lets ``write`` fill a file, which gets its name once it is complete.

    Args:
        sync: wait until it is safely on the disk.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    with contextlib.closing(UnfinishedFile(path.parent)) as unfinished:
        write(unfinished.file)
        unfinished.place(path, sync=sync)


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """As :func:`write_file`, for bytes at hand."""
    write_file(path, lambda file: file.write(data), sync=sync)


def write_array(path: Path, array: NDArray[np.generic], *, sync: bool = True) -> None:
    """As :func:`write_file`, for an array as ``.npy``."""

    def write(file: IO[bytes]) -> None:
        file.write(npy_header(array.dtype, array.shape))
        file.write(np.ascontiguousarray(array).data)

    write_file(path, write, sync=sync)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are safely on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


NPY_HEADER_BYTES = 128


def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """A ``.npy`` header of fixed length, so that the first axis can be shortened in place."""
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape}).encode()
    room = NPY_HEADER_BYTES - 10
    if len(text) >= room:
        raise ValueError(f"the shape {shape} has too many axes")
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"
