"""Rows of numbers on their way from a file that is being sent to the one that is kept."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.datasets.formats.names import NAMES, Part
from service.problems import invalid
from service.requests.embeddings import first_unfit
from service.store.atomic_files import UnfinishedFile
from service.store.dataset_files import DatasetWriter

# A row is looked at in one go.
MOST_COLUMNS = 2**20


class DatasetReader(Protocol):
    """Reads one format. Its methods are called one after the other, and none on the event loop."""

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes of the file.

        Raises:
            Problem: 400, it is no such file; 413, it holds too much; 422, with every fault of
                this piece.
            OSError: it could not be written.
        """

    def finish(self) -> None:
        """The file has ended.

        Raises:
            Problem, OSError: as :meth:`feed`.
        """


class Rows:
    """Checks rows as they come, and hands them on as float32."""

    def __init__(self, writer: DatasetWriter) -> None:
        self._writer = writer
        self._faults: list[Fault] = []
        self._counts: dict[str, int] = {}
        self._widths: dict[str, int] = {}

    def count(self, part: Part) -> int:
        """How many there are so far."""
        return self._counts.get(part, 0)

    def width(self, part: Part) -> int | None:
        """How many numbers are in each, once there are some."""
        return self._widths.get(part)

    def refuse(self, *faults: Fault) -> None:
        """Notes what is wrong with them."""
        self._faults += faults

    def take(self, part: Part, name: str, numbers: NDArray[Any]) -> None:
        """Takes the next rows.

        Args:
            name: what the file calls them.
            numbers: [n, width], floats; the width is that of the rows before.

        Raises:
            Problem: 413, there are too many.
            OSError: they could not be written.
        """
        unfit = first_unfit(numbers, name, self.count(part))
        self._counts[part] = self.count(part) + len(numbers)
        self._widths[part] = numbers.shape[1]
        if unfit is not None:
            self.refuse(unfit)
        elif not self._faults:
            self._writer.add(part, numbers.astype(np.float32))

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuses what is no matrix, or has rows that are too long; without rows, it is empty."""
        if len(shape) != 2:
            self.refuse(Fault((name,), "must have the shape [rows, numbers]", list(shape)))
        elif shape[0] < 1 or not 1 <= shape[1] <= MOST_COLUMNS:
            said = f"must hold at least one row, of 1 to {MOST_COLUMNS:,} numbers"
            self.refuse(Fault((name,), said, list(shape)))

    def check_equally_many(self, rows: int, targets: int) -> None:
        """Refuses targets that are not one for each row of inputs."""
        if targets != rows:
            said = f"must be {rows}, one for each row of the inputs"
            self.refuse(Fault((NAMES["targets"][0],), said, targets))

    def expect(self, numbers: int) -> None:
        """Checks that there is room for so many numbers in all.

        Raises:
            Problem: 413.
        """
        self._writer.expect(numbers)

    def spool(self) -> UnfinishedFile:
        """A file for what cannot be read in the order in which it comes; it need not be closed.

        Raises:
            OSError: there is no room.
        """
        return self._writer.spool()

    def finish(self) -> None:
        """The file has ended.

        Raises:
            Problem: 422, with every fault.
        """
        if "inputs" not in self._counts:
            self.refuse(Fault((NAMES["inputs"][0],), "must hold at least one row", 0))
        elif "targets" in self._counts:
            self.check_equally_many(self.count("inputs"), self.count("targets"))
        self.settle()

    def settle(self) -> None:
        """Tells what was wrong.

        Raises:
            Problem: 422, with every fault so far.
        """
        if self._faults:
            raise invalid(self._faults)


class RowBytes:
    """Rows as the bytes of a matrix, cut anywhere.

    Args:
        dtype: of the numbers; ``None`` for bfloat16, which numpy does not know.
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
        """Takes the next bytes."""
        data = self._rest + data
        row_bytes = self._width * (2 if self._dtype is None else self._dtype.itemsize)
        whole = len(data) // row_bytes
        self._rest = data[whole * row_bytes :]
        if whole:
            part = memoryview(data)[: whole * row_bytes]
            if self._dtype is None:
                # The upper half of a float32.
                wide = np.frombuffer(part, "<u2").astype(np.uint32) << np.uint32(16)
                numbers: NDArray[Any] = wide.view(np.float32)
            else:
                numbers = np.frombuffer(part, self._dtype)
            self._rows.take(self._part, self._name, numbers.reshape(whole, self._width))
