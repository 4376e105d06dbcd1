"""``.npy`` files whose first axis can be shortened in place.

Their header has a fixed length (NEP 1 allows padding), so that an array can grow by rows and be cut
to any number of rows without moving its numbers.
"""

from __future__ import annotations

import os
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from service.store.atomic_files import UNFINISHED, write_file
from service.store.verification.verified_file import VerifiedFile

NPY_HEADER_BYTES = 128

PART_BYTES = 2**20
"""Bytes of an array that are in memory at once where it is read in parts."""

# NumPy reads a header that is no literal once more, as Python 2 wrote it.
_HEADER_DAMAGES = (ValueError, EOFError, tokenize.TokenError)

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return a ``.npy`` header of ``NPY_HEADER_BYTES`` bytes.

    Args:
        dtype: Type of the numbers.
        shape: Shape of the array.

    Raises:
        ValueError: The shape has too many axes for a header of this length.
    """
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape}).encode()
    room = NPY_HEADER_BYTES - 10
    if len(text) >= room:
        raise ValueError(f"the shape {shape} has too many axes for a header of {room} bytes")
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


def npy_buffers(array: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Return the header and the numbers of an array as a ``.npy`` file has them.

    Args:
        array: Array of any shape; it is copied only if it is not contiguous.
    """
    return npy_header(array.dtype, array.shape), np.ascontiguousarray(array).data


def write_array(path: Path, array: NDArray[Any], *, durable: bool = True) -> None:
    """Write an array as a ``.npy`` file that appears complete or not at all.

    Args:
        path: Path of the file.
        array: Array of any shape.
        durable: Whether to wait until the content is on the disk.

    Raises:
        OSError: The file could not be written; nothing is left of it.
    """
    write_file(path, lambda file: file.writelines(npy_buffers(array)), durable=durable)


class StoredArray:
    """A finished ``.npy`` file, of which rows are verified when they are read.

    It is not mapped into memory: where a mapped file is cut short, the system ends the process that
    reads it.

    Attributes:
        file: The file.
        dtype: Type of its numbers.
        shape: Its shape.

    Args:
        file: The file.

    Raises:
        DamagedFile: It cannot be read.
    """

    def __init__(self, file: VerifiedFile) -> None:
        self.file = file
        try:
            with file.open() as opened:
                version = np.lib.format.read_magic(opened)
                read_header = _HEADER_READERS[version]
                self.shape, is_fortran, self.dtype = read_header(opened)
                self._first = opened.tell()
                held = opened.seek(0, os.SEEK_END) - self._first
        except (*_HEADER_DAMAGES, KeyError) as error:
            raise file.damage(f"it cannot be read as .npy: {error}") from error
        if is_fortran or self.dtype.hasobject or not self.shape:
            raise file.damage("it cannot be read as .npy: it is not an array of rows of numbers")
        self._row_bytes = _row_bytes(self.shape, self.dtype)
        promised = len(self) * self._row_bytes
        if held < promised:
            raise file.damage(f"it has {held:,} bytes of numbers instead of {promised:,}")

    def __len__(self) -> int:
        return int(self.shape[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some rows, whose bytes are verified.

        Args:
            start: First row.
            stop: Row behind the last one.

        Raises:
            DamagedFile: They have changed, or there are fewer.
        """
        return self._decode(self.file.read(*self._find(start, stop)))

    def read_parts(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Return some rows in parts, of which only one is in memory at once.

        All are verified now, and each once more when it is read.

        Args:
            start: First row.
            stop: Row behind the last one.

        Raises:
            DamagedFile: They have changed, or there are fewer.
        """
        rows = max(PART_BYTES // max(self._row_bytes, 1), 1)
        if stop - start <= rows:
            return iter((self.read(start, stop),))
        self.file.check(*self._find(start, stop))
        parts = self.file.read_parts(*self._find(start, stop), rows * self._row_bytes)
        return (self._decode(part) for part in parts)

    def _find(self, start: int, stop: int) -> tuple[int, int]:
        """Return where the bytes of some rows are in the file."""
        if stop > len(self):
            raise self.file.damage(f"it has {len(self):,} rows, not {stop:,}")
        return self._first + start * self._row_bytes, self._first + stop * self._row_bytes

    def _decode(self, data: memoryview) -> NDArray[Any]:
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


class GrowingArray:
    """An array on the disk that grows by rows as ``NAME.npy.part`` until it gets its name.

    Args:
        path: Path of the finished file, which ends in ``.npy``.
    """

    def __init__(self, path: Path) -> None:
        self._finished = path
        self._path = path.with_name(path.name + UNFINISHED)

    @classmethod
    def find_all(cls, folder: Path) -> list[GrowingArray]:
        """Return the growing arrays of a folder, sorted by name."""
        paths = sorted(folder.glob(f"*.npy{UNFINISHED}"))
        return [cls(path.with_name(path.name.removesuffix(UNFINISHED))) for path in paths]

    def append(self, rows: NDArray[Any], total: int, *, durable: bool) -> None:
        """Append rows.

        Args:
            rows: Numbers of shape [rows, ...].
            total: Rows that the finished array is expected to have.
            durable: Whether to wait until the rows are on the disk.

        Raises:
            OSError: The rows could not be written.
        """
        with self._path.open("ab") as file:
            if file.tell() == 0:
                file.write(npy_header(rows.dtype, (total, *rows.shape[1:])))
            file.write(np.ascontiguousarray(rows).data)
            if durable:
                _fsync(file)

    @property
    def name(self) -> str:
        """Name of the finished file."""
        return self._finished.name

    def can_grow(self) -> bool:
        """Return whether more rows can follow those that it has, or it is finished."""
        if self._finished.exists():
            return True
        return self._path.exists() and self._read_header() is not None

    def count_rows(self) -> int | None:
        """Return the number of complete rows in the file; ``None`` if its header is damaged."""
        size = self._path.stat().st_size
        if size <= NPY_HEADER_BYTES:
            return 0
        header = self._read_header()
        return None if header is None else (size - NPY_HEADER_BYTES) // _row_bytes(*header)

    def truncate(self, rows: int) -> None:
        """Drop all rows behind the first ``rows``; the array can grow again.

        Args:
            rows: Rows to keep; with 0 the file is removed. One with a damaged header stays.
        """
        if rows == 0:
            self._path.unlink()
            return
        header = self._read_header()
        if header is not None:
            os.truncate(self._path, NPY_HEADER_BYTES + rows * _row_bytes(*header))

    def finish(self, rows: int, *, durable: bool) -> bool:
        """Cut the array to its first rows and give it its name.

        Args:
            rows: Rows to keep; with 0 the file is removed.
            durable: Whether to wait until the content is on the disk.

        Returns:
            False if its header is damaged, so that it has its name but all its bytes.

        Raises:
            OSError: The file could not be written.
        """
        if rows == 0:
            self._path.unlink()
            return True
        header = self._read_header()
        if header is not None:
            shape, dtype = header
            with self._path.open("r+b") as file:
                file.truncate(NPY_HEADER_BYTES + rows * _row_bytes(shape, dtype))
                file.write(npy_header(dtype, (rows, *shape[1:])))
                if durable:
                    _fsync(file)
        self._path.rename(self._finished)
        return header is not None

    def _read_header(self) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
        try:
            with self._path.open("rb") as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        except _HEADER_DAMAGES:
            return None
        return shape, dtype


def _fsync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
