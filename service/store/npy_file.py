"""``.npy`` files whose first axis can be shortened in place.

Their header has a fixed length (NEP 1 allows padding), so that an array can grow by rows and be cut
to any number of rows without moving its numbers.
"""

from __future__ import annotations

import math
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from service.store.atomic_files import UNFINISHED, write_file
from service.store.verification.verified_file import VerifiedFile

NPY_HEADER_BYTES = 128

PART_BYTES = 2**20
"""Bytes of an array that are in memory at once where it is read in parts."""

# NumPy reads a header that is no literal once more, as Python 2 wrote it. The last three are of
# descriptions of a dtype that are none.
_HEADER_DAMAGES = (
    *(ValueError, EOFError, tokenize.TokenError),
    *(IndexError, OverflowError, TypeError),
)

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


@dataclass(frozen=True, slots=True)
class RowLayout:
    """What the rows of an array are.

    Attributes:
        shape: Lengths of the axes of a row.
        dtype: Type of its numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * self.dtype.itemsize

    def find_difference(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], *, is_fortran: bool = False
    ) -> str | None:
        """Return how an array differs from one with such rows, if it does.

        Args:
            shape: Shape of the array.
            dtype: Type of its numbers.
            is_fortran: Whether the first axis is the contiguous one.
        """
        if shape and shape[1:] == self.shape and dtype == self.dtype and not is_fortran:
            return None
        order = " in Fortran order" if is_fortran else ""
        wanted = ", ".join(map(str, ("rows", *self.shape)))
        return f"it has {dtype} {list(shape)}{order} instead of {self.dtype} [{wanted}]"


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
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        promised = len(self) * self._row_bytes
        if held < promised:
            raise file.damage(f"it has {held:,} bytes of numbers instead of {promised:,}")

    def __len__(self) -> int:
        return int(self.shape[0])

    def check_layout(self, layout: RowLayout, rows: int) -> None:
        """Refuse another array than the one that must be there.

        Args:
            layout: What its rows must be.
            rows: Number of rows that it must have.

        Raises:
            DamagedFile: It is another one.
        """
        difference = layout.find_difference(self.shape, self.dtype)
        if difference is None and len(self) != rows:
            difference = f"it has {len(self):,} rows instead of {rows:,}"
        if difference is not None:
            raise self.file.damage(difference)

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

    What its rows are is known from elsewhere, and a file whose header states anything else is
    damaged: read by another header, the same bytes are other numbers.

    Args:
        path: Path of the finished file, which ends in ``.npy``.
        layout: What its rows are.
    """

    def __init__(self, path: Path, layout: RowLayout) -> None:
        self._finished = path
        self._path = path.with_name(path.name + UNFINISHED)
        self._layout = layout

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
                file.write(npy_header(self._layout.dtype, (total, *self._layout.shape)))
            file.write(np.ascontiguousarray(rows).data)
            if durable:
                _fsync(file)

    @property
    def name(self) -> str:
        """Name of the finished file."""
        return self._finished.name

    @property
    def is_growing(self) -> bool:
        """Whether it can have more rows."""
        return self._path.is_file()

    @property
    def exists(self) -> bool:
        """Whether it is there, growing or finished."""
        return self.is_growing or self._finished.is_file()

    def find_damage(self) -> str | None:
        """Return what is wrong with the array, if anything is."""
        return self._read()[0] if self.exists else "it does not exist"

    def count_rows(self) -> int | None:
        """Return the number of complete rows in the file; ``None`` if its header is damaged."""
        if self._present.stat().st_size <= NPY_HEADER_BYTES:
            return 0
        damage, rows = self._read()
        return rows if damage is None else None

    def truncate(self, rows: int) -> None:
        """Drop all rows behind the first ``rows``; the array can grow again.

        Args:
            rows: Rows to keep; with 0 the file is removed. One with a damaged header stays.
        """
        if rows == 0:
            self._path.unlink()
        elif self._read()[0] is None:
            os.truncate(self._path, NPY_HEADER_BYTES + rows * self._layout.row_bytes)

    def finish(self, rows: int, *, durable: bool) -> str | None:
        """Cut the array to its first rows and give it its name, unless it has it already.

        Args:
            rows: Rows to keep; with 0 the file is removed.
            durable: Whether to wait until the content is on the disk.

        Returns:
            What is wrong with it, if it is damaged. The file has its name then, and all its bytes.

        Raises:
            OSError: The file could not be written.
        """
        if not self.is_growing:
            damage, found = self._read()
            return damage if found == rows else f"it has {found:,} rows instead of {rows:,}"
        if rows == 0:
            self._path.unlink()
            return None
        damage = self._read()[0]
        if damage is None:
            with self._path.open("r+b") as file:
                file.truncate(NPY_HEADER_BYTES + rows * self._layout.row_bytes)
                file.write(npy_header(self._layout.dtype, (rows, *self._layout.shape)))
                if durable:
                    _fsync(file)
        self._path.rename(self._finished)
        return damage

    @property
    def _present(self) -> Path:
        return self._path if self.is_growing else self._finished

    def _read(self) -> tuple[str | None, int]:
        """Return what is wrong with the header, if anything is, and the number of complete rows."""
        try:
            with self._present.open("rb") as file:
                version = np.lib.format.read_magic(file)
                shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
                end = file.tell()
                size = os.fstat(file.fileno()).st_size
        except _HEADER_DAMAGES as error:
            return f"its header cannot be read as .npy: {error}", 0
        if version != (1, 0) or end != NPY_HEADER_BYTES:
            return "its header has another form than the server writes", 0
        difference = self._layout.find_difference(shape, dtype, is_fortran=is_fortran)
        if difference is not None:
            return difference, 0
        rows = (size - NPY_HEADER_BYTES) // self._layout.row_bytes
        # The header of one that grows has the rows that it is expected to have.
        return None, rows if self.is_growing else min(rows, shape[0])


def _fsync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
