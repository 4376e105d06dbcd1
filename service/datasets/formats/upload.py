"""The upload of a dataset, from its first byte to its name."""

from __future__ import annotations

from energy_flow.choices import DatasetFormat
from service.datasets.formats.reader import FileReader
from service.datasets.formats.rows import Rows
from service.datasets.parsing.parsers import Parsers
from service.requests.columns import FileSource, Selection
from service.store.datasets import Dataset, DatasetRegistry


class DatasetUpload:
    """A dataset that is checked while it arrives, and stored once it is complete.

    Its owner must call :meth:`close`.

    Args:
        registry: Registry that will have the dataset.
        name: Name of the dataset.
        file_format: Format of the file.
        column: Name of the column of the embeddings, if it was given.
        size: Size of the file in bytes, if known.
        parsers: Processes for files that are not parsed in this one.

    Raises:
        Problem: 409 or 422, no new dataset can have the name.
        OSError: The file cannot be created.
    """

    def __init__(
        self,
        registry: DatasetRegistry,
        name: str,
        file_format: DatasetFormat,
        column: str | None,
        size: int | None,
        parsers: Parsers,
    ) -> None:
        self._registry = registry
        self._name = name
        self._writer = registry.writer(name)
        self._rows = Rows(self._writer, Selection(column))
        self._conversion = parsers.conversion()
        self._reader = FileReader(file_format, self._rows, self._writer, size, self._conversion)

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line that is not complete."""
        return self._reader.pending_bytes

    def feed(self, piece: bytes) -> None:
        """Check and write the next bytes.

        Args:
            piece: Bytes of the file.

        Raises:
            Problem: As :meth:`DatasetReader.feed`.
            OSError: The rows could not be written.
        """
        self._reader.feed(piece)

    def finish(self) -> tuple[Dataset, bool, FileSource | None]:
        """Check the complete file and store the dataset durably.

        Returns:
            The dataset, whether its name is new, and where its rows came from in the file.

        Raises:
            Problem: As :meth:`DatasetReader.finish` and :meth:`DatasetRegistry.add`.
            OSError: The file could not be written.
        """
        self._reader.finish()
        self._rows.finish()
        return *self._registry.add(self._name, self._writer), self._rows.source

    def cancel(self) -> None:
        """End the parsing of the file in another process; callable from any thread."""
        self._conversion.cancel()

    def close(self) -> None:
        """Remove all files unless the dataset was stored."""
        self._writer.close()
