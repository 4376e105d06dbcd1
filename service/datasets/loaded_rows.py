"""``LoadedRows``: rows of a file of embeddings in memory, read as those of uploads."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import DatasetFormat
from service.datasets.formats.column_file import (
    BEGINNING_BYTES,
    check_beginning,
    convert_column_file,
)
from service.datasets.formats.reader import GZIP, FileReader
from service.datasets.formats.rows import Rows
from service.datasets.parsing.parsers import Conversion, Parsers
from service.datasets.parsing.process import ParserLimits
from service.problems import Problem
from service.requests.columns import FileSource, Selection
from service.settings_table import GIBIBYTE
from service.store.atomic_files import UnfinishedFile
from service.store.dataset_files import FLOAT32_BYTES, PARTS

READ_BYTES: Final = 2**20
"""Bytes of a file that are read at once."""

UNLIMITED: Final = 2**62
"""Bytes of a file of one's own, which no limit concerns."""

LIMITS: Final = ParserLimits(
    seconds=24 * 3600, memory_bytes=8 * GIBIBYTE, file_bytes=UNLIMITED, is_of_server=False
)
"""Limits of the process that parses a file of one's own."""


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """The selected rows of a file.

    Attributes:
        inputs: The embeddings, float32 [rows, dim].
        targets: Their targets, float32 [rows, dim], if they were selected and are there.
        count: Rows in the file, as far as it was read.
        source: Where they came from; ``None`` in a file without columns.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32] | None
    count: int
    source: FileSource | None


class MemoryStorage:
    """Rows in memory; its temporary files, which few formats need, are in a folder.

    Use it as a context, which removes the files.

    Args:
        max_bytes: Most bytes of the rows, and of a file that is decompressed.
        folder: Folder of its files; by default one of its own.
    """

    def __init__(self, max_bytes: int = UNLIMITED, folder: Path | None = None) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._files = ExitStack()
        self._reserved: dict[str, UnfinishedFile] = {}
        self._data = {name: bytearray() for name in PARTS}
        self._widths: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Add rows, as :meth:`RowWriter.add`."""
        self.expect(sum(map(len, self._data.values())) // FLOAT32_BYTES + rows.size)
        self._widths[name] = rows.shape[1]
        self._data[name] += np.ascontiguousarray(rows).data

    def expect(self, numbers: int) -> None:
        """Check the size before the rows arrive, as :meth:`RowWriter.expect`."""
        needed = numbers * FLOAT32_BYTES
        if needed > self.max_bytes:
            raise Problem(
                413,
                f"the file has {needed:,} bytes of numbers as float32; the limit is "
                f"{self.max_bytes:,} bytes",
                extra={"needed_bytes": needed, "limit_bytes": self.max_bytes},
            )

    def spool(self) -> UnfinishedFile:
        """Return a temporary file, as :meth:`RowStorage.spool`."""
        if self._folder is None:
            folder = self._files.enter_context(tempfile.TemporaryDirectory(prefix="energy-flow-"))
            self._folder = Path(folder)
        file = UnfinishedFile(self._folder)
        self._files.callback(file.close)
        return file

    def reserve(self) -> dict[str, Path]:
        """Return a file for each part, as :meth:`RowStorage.reserve`."""
        self._reserved = {name: self.spool() for name in PARTS}
        return {name: file.path for name, file in self._reserved.items()}

    def adopt(self, name: str, rows: int, dim: int) -> None:
        """Read the rows that another process has written, as :meth:`RowStorage.adopt`."""
        data = bytearray(rows * dim * FLOAT32_BYTES)
        with self._reserved[name].path.open("rb") as file:
            if file.readinto(data) != len(data):
                raise OSError(f"the file of the {name} has become shorter")
        self._widths[name] = dim
        self._data[name] = data

    def take(self, name: str) -> NDArray[np.float32] | None:
        """Return the rows of a part, float32 [rows, dim]; ``None`` if it has none."""
        if name not in self._widths:
            return None
        return np.frombuffer(self._data[name], np.float32).reshape(-1, self._widths[name])


def load_file(path: Path, file_format: DatasetFormat, selection: Selection) -> LoadedRows:
    """Return the selected rows of a file.

    Args:
        path: The file.
        file_format: Its format.
        selection: What is read of it.

    Raises:
        Problem: The file is damaged, or has no such rows; the message states why.
        OSError: It cannot be read.
    """
    with MemoryStorage() as storage, ExitStack() as stack:
        rows = Rows(storage, selection)
        parsers = Parsers(LIMITS)
        stack.callback(parsers.close)
        with path.open("rb") as file:
            start = file.peek(BEGINNING_BYTES)
            if _is_column_file(file_format) and path.is_file() and not start.startswith(GZIP):
                # The process reads it where it is.
                check_beginning(start, file_format)
                convert_column_file(path, file_format, rows, storage, parsers.conversion())
            else:
                size = path.stat().st_size if path.is_file() else None
                reader = FileReader(file_format, rows, storage, size, parsers.conversion())
                _read(file, reader, rows)
        rows.finish()
        return _take(storage, rows)


def load_body(
    body: bytes,
    file_format: DatasetFormat,
    selection: Selection,
    storage: MemoryStorage,
    conversion: Conversion,
) -> LoadedRows:
    """Return the selected rows of a file that is in memory.

    Args:
        body: The file.
        file_format: Its format.
        selection: What is read of it.
        storage: Has the rows, and temporary files.
        conversion: Conversion in a parser process.

    Raises:
        Problem: The file is damaged, or has no such rows; the message states why.
        OSError: A temporary file cannot be written.
    """
    rows = Rows(storage, selection)
    reader = FileReader(file_format, rows, storage, len(body), conversion)
    view = memoryview(body)
    for start in range(0, len(body), READ_BYTES):
        reader.feed(bytes(view[start : start + READ_BYTES]))
    reader.finish()
    rows.finish()
    return _take(storage, rows)


def _read(file: Any, reader: FileReader, rows: Rows) -> None:
    while piece := file.read(READ_BYTES):
        reader.feed(piece)
        if rows.is_complete:
            return
    reader.finish()


def _is_column_file(file_format: DatasetFormat) -> bool:
    return file_format in (DatasetFormat.PARQUET, DatasetFormat.ARROW)


def _take(storage: MemoryStorage, rows: Rows) -> LoadedRows:
    inputs = storage.take("inputs")
    count = rows.count("inputs")
    if inputs is None:
        inputs = np.empty((0, rows.width("inputs") or 0), np.float32)
    return LoadedRows(inputs, storage.take("targets"), count, rows.source)
