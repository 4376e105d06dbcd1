"""Datasets as ``.npy``: one array [rows, dim], the inputs."""

from __future__ import annotations

import io
from math import prod
from typing import Any

import numpy as np

from energy_flow.errors import Fault
from service.datasets.formats.rows import RowBytes, Rows, RowStorage
from service.problems import Problem
from service.requests.npy_body import MAX_HEADER_BYTES, read_npy_header
from service.requests.number_rows import NUMBERS, is_number_dtype
from service.safetensors_header import wrong_length
from service.store.atomic_files import UnfinishedFile

_PIECE_BYTES = 2**20
_NAME = "inputs"


class NpyReader:
    """A reader of ``.npy`` files.

    Args:
        rows: Receives the rows.
        storage: Has temporary files.
        size: Size of the file in bytes, if known; a wrong one is refused before the numbers
            arrive.
    """

    def __init__(self, rows: Rows, storage: RowStorage, size: int | None) -> None:
        self._rows = rows
        self._storage = storage
        self._size = size
        self._start = b""
        self._header_bytes: int | None = None
        self._held = 0
        self._shape: tuple[int, int] = (0, 0)
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._matrix: RowBytes | None = None
        self._columns: UnfinishedFile | None = None

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._header_bytes is None:
            self._start += piece
            self._header_bytes = _header_bytes(self._start)
            if self._header_bytes is None:
                return
            piece, self._start = self._start, b""
            self._begin(piece[: self._header_bytes])
            piece = piece[self._header_bytes :]
        self._held += len(piece)
        if self._held > self._promised:
            raise wrong_length(self._promised, self._held)
        if self._matrix is not None:
            self._matrix.feed(piece)
        elif self._columns is not None:
            self._columns.file.write(piece)
        self._rows.raise_faults()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        if self._header_bytes is None:
            # NumPy raises the error that describes an incomplete header.
            read_npy_header(io.BytesIO(self._start))
            raise Problem(400, "the body is not a .npy file: it ends in the header")
        if self._held != self._promised:
            raise wrong_length(self._promised, self._held)
        if self._columns is not None:
            self._add_columns(self._columns)
        self._rows.raise_faults()

    @property
    def _promised(self) -> int:
        return prod(self._shape) * self._dtype.itemsize

    def _begin(self, header: bytes) -> None:
        shape, fortran, dtype = read_npy_header(io.BytesIO(header))
        column = self._rows.selection.column
        if column is not None:
            message = "is no column of a .npy file, which has one array; leave column out"
            self._rows.refuse(Fault((column,), message, column))
        if not is_number_dtype(dtype):
            self._rows.refuse(Fault((_NAME,), f"must be {NUMBERS}", str(dtype)))
        self._rows.check_shape(_NAME, shape)
        self._rows.raise_faults()
        rows, width = self._shape = (shape[0], shape[1])
        self._dtype = dtype
        self._rows.expect(rows * width)
        if self._size is not None and self._size - len(header) != self._promised:
            raise wrong_length(self._promised, self._size - len(header))
        if fortran and width > 1:
            self._columns = self._storage.spool()
        else:
            self._matrix = RowBytes(self._rows, "inputs", _NAME, dtype, width)

    def _add_columns(self, columns: UnfinishedFile) -> None:
        """Add the rows of an array in Fortran order."""
        columns.file.flush()
        rows, width = self._shape
        step = max(1, _PIECE_BYTES // (width * self._dtype.itemsize))
        for start in range(0, rows, step):
            part = np.empty((width, min(step, rows - start)), self._dtype)
            for number, column in enumerate(part):
                # Not mapped: a mapped file that is cut short ends the process.
                columns.file.seek((number * rows + start) * self._dtype.itemsize)
                if columns.file.readinto(column.view(np.uint8)) < column.nbytes:
                    raise OSError(f"the columns of {_NAME} have become shorter")
            self._rows.add("inputs", _NAME, np.ascontiguousarray(part.T))
            self._rows.raise_faults()


def _header_bytes(start: bytes) -> int | None:
    """Return the length of everything before the numbers; ``None`` while it is incomplete.

    Args:
        start: First bytes of the file.

    Raises:
        Problem: 400, the file is not ``.npy``.
    """
    if len(start) < 12:
        return None
    if start[6] == 1:
        length = 10 + int.from_bytes(start[8:10], "little")
    else:
        length = 12 + int.from_bytes(start[8:12], "little")
    if not start.startswith(b"\x93NUMPY") or length > MAX_HEADER_BYTES:
        # NumPy raises the error that describes a malformed header.
        read_npy_header(io.BytesIO(start))
        raise Problem(
            400, f"the body is not a .npy file: its header exceeds {MAX_HEADER_BYTES:,} bytes"
        )
    return length if len(start) >= length else None
