"""Datasets as ``.npy``: one array [rows, dim], which are the inputs."""

from __future__ import annotations

import io
from math import prod
from typing import Any

import numpy as np

from energy_flow.errors import Fault
from service.datasets.formats.rows import RowBytes, Rows
from service.problems import Problem
from service.requests.embeddings import NPY_KINDS, read_npy_header
from service.safetensors_header import wrong_length
from service.store.atomic_files import UnfinishedFile

# numpy reads no longer one.
LONGEST_HEADER = 10_000

_PIECE_BYTES = 2**20
_NAME = "inputs"


class NpyReader:
    """Reads a ``.npy`` file.

    Args:
        size: of the file, if that is known; what cannot be is refused before it has arrived.
    """

    def __init__(self, rows: Rows, size: int | None) -> None:
        self._rows = rows
        self._size = size
        self._start = b""
        self._header_bytes: int | None = None
        self._held = 0
        self._shape: tuple[int, int] = (0, 0)
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._matrix: RowBytes | None = None
        self._columns: UnfinishedFile | None = None

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes."""
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
        self._rows.settle()

    def finish(self) -> None:
        """The file has ended."""
        if self._header_bytes is None:
            # Too short: numpy says of what.
            read_npy_header(io.BytesIO(self._start))
            raise Problem(400, "the body is not a .npy file: it ends in the header")
        if self._held != self._promised:
            raise wrong_length(self._promised, self._held)
        if self._columns is not None:
            self._take_columns(self._columns)
        self._rows.settle()

    @property
    def _promised(self) -> int:
        return prod(self._shape) * self._dtype.itemsize

    def _begin(self, header: bytes) -> None:
        shape, fortran, dtype = read_npy_header(io.BytesIO(header))
        if dtype.str not in NPY_KINDS:
            said = "must be float16, float32 or float64"
            self._rows.refuse(Fault((_NAME,), said, str(dtype)))
        self._rows.check_shape(_NAME, shape)
        self._rows.settle()
        rows, width = self._shape = (shape[0], shape[1])
        self._dtype = dtype
        self._rows.expect(rows * width)
        if self._size is not None and self._size - len(header) != self._promised:
            raise wrong_length(self._promised, self._size - len(header))
        if fortran and width > 1:
            self._columns = self._rows.spool()
        else:
            self._matrix = RowBytes(self._rows, "inputs", _NAME, dtype, width)

    def _take_columns(self, columns: UnfinishedFile) -> None:
        """Takes rows of a file that has the columns one after the other."""
        columns.file.flush()
        matrix = np.memmap(columns.path, self._dtype, "r", shape=self._shape, order="F")
        step = max(1, _PIECE_BYTES // (self._shape[1] * self._dtype.itemsize))
        for start in range(0, len(matrix), step):
            self._rows.take("inputs", _NAME, np.ascontiguousarray(matrix[start : start + step]))
            self._rows.settle()


def _header_bytes(start: bytes) -> int | None:
    """Length of the header with all that is before it; none while that is not complete.

    Raises:
        Problem: 400, this is no ``.npy`` file.
    """
    if len(start) < 12:
        return None
    if start[6] == 1:
        length = 10 + int.from_bytes(start[8:10], "little")
    else:
        length = 12 + int.from_bytes(start[8:12], "little")
    if not start.startswith(b"\x93NUMPY") or length > LONGEST_HEADER:
        # numpy says what is wrong with it.
        read_npy_header(io.BytesIO(start))
        raise Problem(400, "the body is not a .npy file: its header is too long")
    return length if len(start) >= length else None
