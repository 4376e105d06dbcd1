"""``FileReader``: the reader of a file of any format, compressed with gzip or not."""

from __future__ import annotations

from typing import Final

from energy_flow.choices import DatasetFormat
from service.content_codings import Decoder
from service.datasets.formats.column_file import ColumnFileReader
from service.datasets.formats.csv_text import CsvReader
from service.datasets.formats.json_text import JsonReader
from service.datasets.formats.npy import NpyReader
from service.datasets.formats.rows import DatasetReader, Rows, RowStorage
from service.datasets.formats.safetensors import SafetensorsReader
from service.datasets.parsing.parsers import Conversion
from service.problems import Problem

GZIP: Final = b"\x1f\x8b"
"""The first bytes of a file that is compressed with gzip. No format begins with them."""


class FileReader:
    """A reader of a file of any format, which is decompressed if it begins as gzip files do.

    Args:
        file_format: Format of the file.
        rows: Receives the rows.
        storage: Has temporary files.
        size: Size of the file in bytes, if known.
        conversion: Conversion in a parser process.
    """

    def __init__(
        self,
        file_format: DatasetFormat,
        rows: Rows,
        storage: RowStorage,
        size: int | None,
        conversion: Conversion,
    ) -> None:
        self._format = file_format
        self._rows = rows
        self._storage = storage
        self._size = size
        self._conversion = conversion
        self._start = b""
        self._reader: DatasetReader | None = None
        self._decoder: Decoder | None = None
        self._decoded = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line or a row that is not complete."""
        if isinstance(self._reader, JsonReader | CsvReader):
            return self._reader.pending_bytes
        return 0

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._reader is None:
            self._start += piece
            if len(self._start) < len(GZIP):
                return
            piece, self._start = self._start, b""
            self._reader = self._open(piece)
        if self._decoder is None:
            self._reader.feed(piece)
            return
        for decoded in self._decoder.decode(piece):
            self._decoded += len(decoded)
            if self._decoded > self._storage.max_bytes:
                limit = self._storage.max_bytes
                raise Problem(
                    413,
                    f"the file has more than {limit:,} bytes when it is decompressed, the limit",
                    extra={"limit_bytes": limit},
                )
            self._reader.feed(decoded)
            if self._rows.is_complete:
                return

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        if self._reader is None:
            self._reader = self._open(self._start)
            self._reader.feed(self._start)
        if self._decoder is not None:
            self._decoder.finish()
        self._reader.finish()

    def _open(self, start: bytes) -> DatasetReader:
        size = self._size
        if start.startswith(GZIP):
            self._decoder, size = Decoder("gzip"), None
        match self._format:
            case DatasetFormat.SAFETENSORS:
                return SafetensorsReader(self._rows, size)
            case DatasetFormat.NPY:
                return NpyReader(self._rows, self._storage, size)
            case DatasetFormat.PARQUET | DatasetFormat.ARROW:
                return ColumnFileReader(self._rows, self._storage, self._conversion, self._format)
            case DatasetFormat.JSONL:
                return JsonReader(self._rows)
            case DatasetFormat.CSV:
                return CsvReader(self._rows)
