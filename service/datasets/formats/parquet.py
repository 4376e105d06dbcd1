"""Datasets as ``.parquet``: received here, and read by a parser process."""

from __future__ import annotations

from typing import cast

from service.datasets.formats.names import Part
from service.datasets.formats.rows import Rows
from service.datasets.parsing.messages import ConversionTask
from service.datasets.parsing.parsers import Conversion
from service.problems import Problem
from service.store.atomic_files import UnfinishedFile
from service.store.dataset_files import DatasetWriter

_MAGIC = b"PAR1"


class ParquetReader:
    """A reader of ``.parquet`` files, which ignores other columns.

    The description of such a file is at its end. The file is kept on the disk until then. A damaged
    one can end the process that reads it, so another process does.

    Args:
        rows: Has the rows in the end.
        writer: Writer of the rows.
        conversion: Conversion in a parser process.
    """

    def __init__(self, rows: Rows, writer: DatasetWriter, conversion: Conversion) -> None:
        self._rows = rows
        self._writer = writer
        self._conversion = conversion
        self._spool: UnfinishedFile | None = None

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._spool is None:
            if not piece.startswith(_MAGIC[: len(piece)]):
                raise refuse_parquet(f"it does not begin with {_MAGIC.decode()}")
            self._spool = self._writer.spool()
        self._spool.file.write(piece)

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`.

        Raises:
            Problem: Also as :meth:`Conversion.run`.
            OSError: The rows could not be written, or no parser process can be started.
        """
        if self._spool is None:
            raise refuse_parquet("it is empty")
        self._spool.file.flush()
        results = {name: path.absolute() for name, path in self._writer.reserve().items()}
        parts = self._conversion.run(
            ConversionTask(self._spool.path.absolute(), results, self._writer.max_bytes)
        )
        for name, (rows, dim) in parts.items():
            self._writer.adopt(name, rows, dim)
            self._rows.count_checked(cast("Part", name), rows, dim)


def refuse_parquet(why: str) -> Problem:
    """Return 400 for a file that cannot be read.

    Args:
        why: What is wrong with it.
    """
    return Problem(400, f"the body is not a .parquet file, or is damaged: {why}")
