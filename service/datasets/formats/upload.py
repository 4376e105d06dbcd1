"""A dataset that is being sent, from its first byte to its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from service.datasets.formats.jsonl import JsonLinesReader
from service.datasets.formats.npy import NpyReader
from service.datasets.formats.parquet import ParquetReader
from service.datasets.formats.rows import DatasetReader, Rows
from service.datasets.formats.safetensors import SafetensorsReader
from service.store.datasets import Dataset, DatasetRegistry

DatasetFormat = Literal["safetensors", "npy", "parquet", "jsonl"]

MEDIA_TYPES: Mapping[str, DatasetFormat] = {
    "application/x-npy": "npy",
    "application/vnd.apache.parquet": "parquet",
    "application/x-ndjson": "jsonl",
}
"""Types of a body that say which format it has; ``.safetensors`` has none of its own."""

_READERS: Mapping[DatasetFormat, Callable[[Rows, int | None], DatasetReader]] = {
    "safetensors": SafetensorsReader,
    "npy": NpyReader,
    "parquet": lambda rows, _: ParquetReader(rows),
    "jsonl": lambda rows, _: JsonLinesReader(rows),
}


class DatasetUpload:
    """Checks a dataset while it arrives, and names it once it is there.

    Args:
        size: of the file, if that is known.

    Raises:
        OSError: there is no room.
    """

    def __init__(
        self, registry: DatasetRegistry, name: str, file_format: DatasetFormat, size: int | None
    ) -> None:
        self._registry = registry
        self._name = name
        self._writer = registry.writer()
        self._rows = Rows(self._writer)
        self._reader = _READERS[file_format](self._rows, size)

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes.

        Raises:
            Problem, OSError: as :meth:`DatasetReader.feed`.
        """
        self._reader.feed(piece)

    def finish(self) -> tuple[Dataset, bool]:
        """The file has ended: it is named, durably.

        Returns:
            the dataset, and whether its name is new.

        Raises:
            Problem, OSError: as :meth:`DatasetReader.finish` and :meth:`DatasetRegistry.add`.
        """
        self._reader.finish()
        self._rows.finish()
        return self._registry.add(self._name, self._writer)

    def close(self) -> None:
        """Removes what was not named."""
        self._writer.close()
