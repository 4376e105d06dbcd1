"""Reading of files of embeddings, with the loader of the server."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import DatasetFormat
from service.cli.input.failures import (
    EXIT_USAGE,
    CommandFailed,
    require_file,
    require_package,
)
from service.cli.input.file_format import choose_embeddings_format
from service.cli.input.file_source import describe_rows
from service.cli.input.regular_file import describe_path, is_stream, regular_file
from service.cli.input.terminal import print_note


@dataclass(frozen=True, slots=True)
class RowRange:
    """Consecutive rows.

    Attributes:
        start: first row, counted from 0.
        stop: row after the last one; ``None`` stands for the end.
    """

    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> RowRange:
        """Return the rows that ``A:B``, ``A:``, ``:B`` or ``A`` stands for.

        Raises:
            CommandFailed: the text has another form.
        """
        if text is None:
            return cls()
        start, colon, stop = (part.strip() for part in text.partition(":"))
        if (start and not start.isdecimal()) or (stop and not stop.isdecimal()):
            start = stop = ""
            colon = "no"
        if colon == ":":
            return cls(int(start or 0), int(stop) if stop else None)
        if not start:
            raise CommandFailed(
                f"--rows must be A:B with rows counted from 0, not {text!r}", EXIT_USAGE
            )
        return cls(int(start), int(start) + 1)

    def within(self, rows: int, what: object) -> slice:
        """Return the rows as a slice.

        Args:
            rows: how many rows there are.
            what: what has them, for messages.

        Raises:
            CommandFailed: some of the rows do not exist.
        """
        stop = rows if self.stop is None else self.stop
        if rows == 0:
            raise CommandFailed(f"{what} has no rows; at least one is needed")
        if not 0 <= self.start < stop <= rows:
            wanted = f"{self.start}:{'' if self.stop is None else self.stop}"
            raise CommandFailed(
                f"{what} has the rows 0:{rows}; --rows {wanted} is not within them", EXIT_USAGE
            )
        return slice(self.start, stop)


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a file.

    Attributes:
        embeddings: float32 [rows, dimension].
        targets: float32 [rows, dimension], where they were wanted and are there.
        first: index in the file of the first row.
    """

    embeddings: NDArray[np.float32]
    targets: NDArray[np.float32] | None
    first: int

    @property
    def sample_keys(self) -> list[int]:
        """The index in the file for each row, so that any part gives the same results."""
        return list(range(self.first, self.first + len(self.embeddings)))


@dataclass(frozen=True, slots=True)
class EmbeddingsFile:
    """A file of embeddings, as options name it.

    Attributes:
        path: the file.
        column: tensor, column or member with the embeddings; by default one of the usual names.
        format_name: a :class:`DatasetFormat`; by default that of the suffix.
        target_column: tensor, column or member with the targets; by default one of the usual names.
    """

    path: Path
    column: str | None = None
    format_name: str | None = None
    target_column: str | None = None

    def find_format(self) -> DatasetFormat:
        """Return the format, without reading the file.

        Raises:
            CommandFailed: the file does not exist, its format is not known, or the package that
                reads it is not installed.
        """
        if not is_stream(self.path):
            require_file(self.path)
        found = choose_embeddings_format(self.format_name, self.path)
        if found in (DatasetFormat.PARQUET, DatasetFormat.ARROW):
            require_package("pyarrow", "sim", "reading .parquet and .arrow files")
        return found

    def read(
        self, rows: RowRange, *, with_targets: bool = False, is_quiet: bool = False
    ) -> FileRows:
        """Read rows, and print to stderr what was read.

        Args:
            rows: which rows.
            with_targets: whether targets are read, if there are any.
            is_quiet: whether nothing is printed.

        Raises:
            CommandFailed: the file does not exist, has another format, or lacks some of the rows.
        """
        file_format, name = self.find_format(), describe_path(self.path)
        from service.datasets.loaded_rows import load_file
        from service.problems import Problem
        from service.requests.columns import Selection

        # The message says what a server would log about the process that parses the file.
        logging.getLogger("service.datasets").addHandler(_SILENT)
        selection = Selection(
            self.column, rows.start, rows.stop, with_targets, target_column=self.target_column
        )
        try:
            with regular_file(self.path) as file:
                loaded = load_file(file, file_format, selection)
        except Problem as problem:
            raise CommandFailed(self._describe(problem.detail)) from None
        except OSError as error:
            reason = error.strerror or error
            raise CommandFailed(f"{name} cannot be read: {reason}") from None
        rows.within(loaded.count, name)
        if not is_quiet:
            shape = (len(loaded.inputs), loaded.inputs.shape[1])
            targets_dim = None if loaded.targets is None else loaded.targets.shape[1]
            print_note(describe_rows(name, shape, targets_dim, loaded.source))
        return FileRows(loaded.inputs, loaded.targets, rows.start)

    def _describe(self, detail: str) -> str:
        """Return what a server answers for a body as a message about the file."""
        name = describe_path(self.path)
        if detail.startswith(_BODY):
            return f"{name} {detail.removeprefix(_BODY)}"
        return f"{name}: {detail}"


_BODY: Final = "the body "
_SILENT: Final = logging.NullHandler()
