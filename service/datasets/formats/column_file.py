"""Files of columns, Parquet and Arrow: kept on the disk, and read by a parser process."""

from __future__ import annotations

from pathlib import Path
from typing import Final, cast

from energy_flow.choices import DatasetFormat
from service.datasets.formats.rows import Rows, RowStorage
from service.datasets.parsing.messages import ConversionTask
from service.datasets.parsing.parsers import Conversion
from service.problems import Problem
from service.requests.columns import Part
from service.store.atomic_files import UnfinishedFile

_BEGINNINGS: Final = {
    DatasetFormat.PARQUET: (b"PAR1",),
    # An IPC file, and the mark before each message of a stream.
    DatasetFormat.ARROW: (b"ARROW1", b"\xff\xff\xff\xff"),
}
_FEATHER_1: Final = b"FEA1"
BEGINNING_BYTES: Final = 6
"""Bytes that show whether a file has its format."""


class ColumnFileReader:
    """A reader of ``.parquet`` and ``.arrow`` files.

    What describes such a file can be at its end. The file is kept on the disk until then. A damaged
    one can end the process that reads it, so another process does.

    Args:
        rows: Has the rows in the end.
        storage: Has the file until then, and the rows in the end.
        conversion: Conversion in a parser process.
        file_format: Format of the file, one of these two.
    """

    def __init__(
        self, rows: Rows, storage: RowStorage, conversion: Conversion, file_format: DatasetFormat
    ) -> None:
        self._rows = rows
        self._storage = storage
        self._conversion = conversion
        self._format = file_format
        self._start = b""
        self._spool: UnfinishedFile | None = None

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._spool is None:
            self._start += piece
            if len(self._start) < BEGINNING_BYTES:
                return
            piece, self._start = self._start, b""
            check_beginning(piece, self._format)
            self._spool = self._storage.spool()
        self._spool.file.write(piece)

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`.

        Raises:
            Problem: Also as :meth:`Conversion.run`.
            OSError: The rows could not be written, or no parser process can be started.
        """
        if self._spool is None:
            check_beginning(self._start, self._format)
            raise refuse_column_file(self._format, "it ends within its first bytes")
        self._spool.file.flush()
        convert_column_file(
            self._spool.path, self._format, self._rows, self._storage, self._conversion
        )


def check_beginning(start: bytes, file_format: DatasetFormat) -> None:
    """Refuse a file that does not begin as those of its format do.

    Args:
        start: Its first bytes, at least six if it has as many.
        file_format: Format that it should have.

    Raises:
        Problem: 400.
    """
    if not start:
        raise refuse_column_file(file_format, "it is empty")
    if file_format is DatasetFormat.ARROW and start.startswith(_FEATHER_1):
        raise refuse_column_file(
            file_format, "it has version 1 of Feather; write it with version 2"
        )
    beginnings = _BEGINNINGS[file_format]
    if not start.startswith(beginnings):
        first = beginnings[0].decode()
        message = f"it does not begin with {first}"
        if len(beginnings) > 1:
            message = f"it begins neither with {first} nor as a stream"
        raise refuse_column_file(file_format, message)


def convert_column_file(
    path: Path, file_format: DatasetFormat, rows: Rows, storage: RowStorage, conversion: Conversion
) -> None:
    """Read a file in a parser process.

    Args:
        path: The file.
        file_format: Its format.
        rows: Has the rows in the end.
        storage: The same.
        conversion: Conversion in a parser process.

    Raises:
        Problem: As :meth:`Conversion.run`.
        OSError: The rows could not be written, or no parser process can be started.
    """
    results = {name: result.absolute() for name, result in storage.reserve().items()}
    converted = conversion.run(
        ConversionTask(
            path.absolute(), file_format.value, rows.selection, results, storage.max_bytes
        )
    )
    rows.source = converted.source
    for name, (count, dim) in converted.parts.items():
        selected = rows.selection.within(0, count)
        storage.adopt(name, selected.stop - selected.start, dim)
        rows.count_checked(cast("Part", name), count, dim)


def refuse_column_file(file_format: str, why: str) -> Problem:
    """Return 400 for a file that cannot be read.

    Args:
        file_format: Name of the format that it should have.
        why: What is wrong with it.
    """
    return Problem(400, f"the body is not a .{file_format} file, or is damaged: {why}")
