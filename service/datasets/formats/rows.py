"""Rows of numbers between the upload of a dataset and the stored file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import one_row_is
from energy_flow.errors import Fault
from service.problems import invalid
from service.requests.columns import NAMES, FileSource, Part, Selection
from service.requests.number_rows import find_row_faults, find_unfit_number, widen_bfloat16
from service.store.atomic_files import UnfinishedFile

# Memory holds a whole row.
MAX_COLUMNS = 2**20
# The bytes of more rows would not fit in 64 bits, which JSON readers take.
MAX_ROWS = 2**40


class DatasetReader(Protocol):
    """A reader of one format. Its methods block and are called one after the other."""

    def feed(self, piece: bytes) -> None:
        """Read the next bytes of the file.

        Args:
            piece: Bytes of any number.

        Raises:
            Problem: 400, the file has another format; 413, it is too large; 422, with every fault
                of this piece.
            OSError: The rows could not be written.
        """

    def finish(self) -> None:
        """Read what is left at the end of the file.

        Raises:
            Problem: As :meth:`feed`; also 400, the file is incomplete.
            OSError: The rows could not be written.
        """


class RowWriter(Protocol):
    """A writer of rows that are checked."""

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Write the next rows [n, width] of a part.

        Raises:
            Problem: 413, the dataset is too large.
            OSError: The rows could not be written.
        """

    def expect(self, numbers: int) -> None:
        """Check the size of the dataset before its rows arrive.

        Raises:
            Problem: 413, the dataset is too large.
        """


class RowStorage(RowWriter, Protocol):
    """A writer of rows that has files for readers which cannot write row by row."""

    @property
    def max_bytes(self) -> int:
        """Most bytes of the rows, and of a file that is decompressed."""

    def spool(self) -> UnfinishedFile:
        """Return a temporary file, which the storage removes.

        Raises:
            OSError: The file cannot be created.
        """

    def reserve(self) -> dict[str, Path]:
        """Return a file for each part, to which another process appends its rows as float32.

        Raises:
            OSError: A file cannot be created.
        """

    def adopt(self, name: str, rows: int, dim: int) -> None:
        """Add the rows that another process has appended to a reserved file.

        Args:
            name: Name of the part.
            rows: Number of rows.
            dim: Numbers in a row.

        Raises:
            Problem: 413, the dataset would be too large.
            OSError: The file has another size, or cannot be read.
        """


def find_list_faults(lists: list[Any], name: str, first_row: int, width: int | None) -> list[Fault]:
    """Return why rows that were parsed are no rows of a dataset: the first fault of each kind.

    Args:
        lists: The rows; at least one.
        name: Their name in the file.
        first_row: Index of the first of them.
        width: Numbers in each row, if that is known.
    """
    faults = find_row_faults(lists, name, first_row, width)
    if not faults and not 1 <= len(lists[0]) <= MAX_COLUMNS:
        message = f"must have 1 to {MAX_COLUMNS:,} numbers"
        faults = [Fault((name, first_row), message, len(lists[0]))]
    return faults


class Rows:
    """Rows that are checked and written as float32.

    Attributes:
        selection: What is read of the file. Other rows are counted, and not checked.
        source: Where the rows came from, once their columns are chosen; ``None`` in a file that has
            no columns.

    Args:
        writer: Writer of the rows.
        selection: What is read of the file.
    """

    def __init__(self, writer: RowWriter, selection: Selection) -> None:
        self.selection = selection
        self.source: FileSource | None = None
        self._writer = writer
        self._faults: list[Fault] = []
        self._counts: dict[str, int] = {}
        self._widths: dict[str, int] = {}
        self._lines: Sequence[int] = ()
        self._first_of_lines = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing that follows in the file is read."""
        stop = self.selection.stop
        is_read = stop is not None and self.count("inputs") >= stop
        return is_read and not self.selection.has_targets

    def count(self, part: Part) -> int:
        """Return the number of rows in the file so far."""
        return self._counts.get(part, 0)

    def width(self, part: Part) -> int | None:
        """Return the numbers in a row; ``None`` before the first one."""
        return self._widths.get(part)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Rows in the file so far, and numbers in a row, by the name of the part."""
        return {part: (count, self._widths[part]) for part, count in self._counts.items()}

    def refuse(self, *faults: Fault) -> None:
        """Record faults of the rows; :meth:`raise_faults` raises them."""
        self._faults += map(self._name_line, faults)

    def add_lists(
        self,
        part: Part,
        name: str,
        lists: list[Any],
        lines: Sequence[int],
        columns: Sequence[str] = (),
    ) -> None:
        """Check and write the next rows of a text, as :meth:`add`.

        Args:
            part: Which part of the dataset they belong to.
            name: Their name in the file.
            lists: The rows as they were parsed; at least one.
            lines: The line of each row, from 1, which faults name. Empty lines have no row.
            columns: Names of the columns, where each has one number of a row.

        Raises:
            Problem: 413, the dataset is too large.
            OSError: The rows could not be written.
        """
        first = self._first_of_lines = self.count(part)
        self._lines = lines
        faults = find_list_faults(lists, name, first, self.width(part))
        if faults:
            self.refuse(*faults)
        else:
            self.add(part, name, np.array(lists, dtype=np.float64), columns)

    def add(
        self, part: Part, name: str, numbers: NDArray[Any], columns: Sequence[str] = ()
    ) -> None:
        """Check and write the next rows.

        Args:
            part: Which part of the dataset they belong to.
            name: Their name in the file.
            numbers: Floats or integers [n, width], of the width of the rows before.
            columns: Names of the columns, where each has one number of a row.

        Raises:
            Problem: 413, the dataset is too large.
            OSError: The rows could not be written.
        """
        first = self.count(part)
        self._counts[part] = first + len(numbers)
        self._widths[part] = numbers.shape[1]
        selected = self.selection.within(first, len(numbers))
        numbers = numbers[selected]
        unfit = find_unfit_number(numbers, name, first + selected.start)
        if unfit is not None and columns:
            _, row, column = unfit.loc
            unfit = Fault((columns[int(column)], row), unfit.msg, unfit.got)
        if unfit is not None:
            self.refuse(unfit)
        elif not self._faults and len(numbers):
            self._writer.add(part, numbers.astype(np.float32))

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse an array that is no matrix, is empty, or has too long rows.

        Args:
            name: Name of the array in the file.
            shape: Its shape.
        """
        if len(shape) != 2:
            message = "must have the shape [rows, numbers]"
            if len(shape) == 1:
                message = f"{message}; {one_row_is(shape[0])}"
            self.refuse(Fault((name,), message, list(shape)))
        elif shape[0] < 1 or not 1 <= shape[1] <= MAX_COLUMNS:
            message = f"must hold at least one row, of 1 to {MAX_COLUMNS:,} numbers"
            self.refuse(Fault((name,), message, list(shape)))
        elif shape[0] > MAX_ROWS:
            self.refuse(Fault((name,), f"must hold at most {MAX_ROWS:,} rows", list(shape)))

    def check_equally_many(self, rows: int, targets: int) -> None:
        """Refuse targets that are not one for each row of inputs.

        Args:
            rows: Number of rows of inputs.
            targets: Number of rows of targets.
        """
        if targets != rows:
            message = f"must be {rows}, one for each row of the inputs"
            self.refuse(Fault((NAMES["targets"][0],), message, targets))

    def expect(self, numbers: int) -> None:
        """Check the size of the dataset before its rows arrive.

        Args:
            numbers: Numbers of all inputs and targets.

        Raises:
            Problem: 413, the dataset is too large.
        """
        self._writer.expect(numbers)

    def count_checked(self, part: Part, rows: int, width: int) -> None:
        """Count rows that were checked and written elsewhere.

        Args:
            part: Which part of the dataset they belong to.
            rows: Number of rows.
            width: Numbers in a row.
        """
        self._counts[part] = rows
        self._widths[part] = width

    def finish(self) -> None:
        """Check that the dataset is complete.

        Raises:
            Problem: 422, with every fault.
        """
        if not self.count("inputs"):
            self.refuse(Fault((NAMES["inputs"][0],), "must hold at least one row", 0))
        elif "targets" in self._counts:
            self.check_equally_many(self.count("inputs"), self.count("targets"))
        self.raise_faults()

    def _name_line(self, fault: Fault) -> Fault:
        row = fault.loc[1] if len(fault.loc) > 1 else None
        index = row - self._first_of_lines if isinstance(row, int) else -1
        if not 0 <= index < len(self._lines):
            return fault
        return Fault(fault.loc, f"{fault.msg} (line {self._lines[index]:,})", fault.got)

    def raise_faults(self) -> None:
        """Raise the faults so far, if there are any.

        Raises:
            Problem: 422, with every fault.
        """
        if self._faults:
            raise invalid(self._faults)


class RowBytes:
    """Rows that arrive as the bytes of a matrix, in pieces of any length.

    Args:
        rows: Receives the rows.
        part: Which part of the dataset they belong to.
        name: Their name in the file.
        dtype: Type of the numbers; ``None`` for bfloat16, which NumPy does not have.
        width: Numbers in a row.
    """

    def __init__(
        self, rows: Rows, part: Part, name: str, dtype: np.dtype[Any] | None, width: int
    ) -> None:
        self._rows = rows
        self._part = part
        self._name = name
        self._dtype = dtype
        self._width = width
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Add the rows that the next bytes complete.

        Raises:
            Problem: 413, the dataset is too large.
            OSError: The rows could not be written.
        """
        data = self._rest + data
        row_bytes = self._width * (2 if self._dtype is None else self._dtype.itemsize)
        whole = len(data) // row_bytes
        self._rest = data[whole * row_bytes :]
        if whole:
            part = memoryview(data)[: whole * row_bytes]
            numbers: NDArray[Any] = (
                widen_bfloat16(part) if self._dtype is None else np.frombuffer(part, self._dtype)
            )
            self._rows.add(self._part, self._name, numbers.reshape(whole, self._width))
