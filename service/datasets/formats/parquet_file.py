"""Parquet files: a column of lists of numbers, and an optional one of targets.

Only a parser process imports this module, because PyArrow can end the process with a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.datasets.formats.names import Part, choose_names
from service.datasets.formats.parquet import refuse_parquet
from service.datasets.formats.rows import MAX_COLUMNS, MAX_ROWS, Rows
from service.requests.number_rows import describe_other_length
from service.store.dataset_files import PartFiles

_BATCH_BYTES = 4 * 2**20


def convert_parquet(
    source: Path, results: Mapping[str, Path], max_bytes: int
) -> dict[str, tuple[int, int]]:
    """Append the rows of a Parquet file to other files, as float32.

    Args:
        source: The Parquet file. Columns that are neither inputs nor targets are ignored.
        results: The file of each part.
        max_bytes: Most bytes of the dataset.

    Returns:
        Rows and numbers in a row, by the name of the part.

    Raises:
        Problem: 400, the file is damaged; 413, the dataset is too large; 422, with every fault of
            the rows that were read.
        MemoryError: Memory does not suffice.
        OSError: The rows could not be written.
    """
    with closing(PartFiles(results, max_bytes)) as files:
        _ParquetFile(source, Rows(files)).read()
        return files.shape.parts


class _ParquetFile:
    def __init__(self, path: Path, rows: Rows) -> None:
        self._path = path
        self._rows = rows

    def read(self) -> None:
        for batch in self._batches():
            self._rows.raise_faults()
            for part, name, column in batch:
                self._add(part, name, column)
        self._rows.raise_faults()

    def _batches(self) -> Iterator[list[tuple[Part, str, Any]]]:
        """Yield the chosen columns, some rows at a time."""
        try:
            # Mapped, so that memory need not hold a whole row group.
            with pq.ParquetFile(self._path, memory_map=True) as file:
                names = self._names(file.schema_arrow)
                self._expect(file, names)
                rows = max(1, file.metadata.num_rows)
                width = 8 * sum(self._count_numbers(file, name) for name in names.values()) // rows
                step = max(1, min(_BATCH_BYTES // max(width, 1), 65_536))
                for batch in file.iter_batches(step, columns=list(names.values())):
                    yield [(part, name, batch.column(name)) for part, name in names.items()]
        except MemoryError:
            # PyArrow's is one of its own exceptions as well.
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise refuse_parquet(str(error)) from None

    def _names(self, schema: pa.Schema) -> dict[Part, str]:
        names, faults = choose_names(schema.names)
        self._rows.refuse(*faults)
        for name in names.values():
            kind = schema.field(schema.get_all_field_indices(name)[0]).type
            if not _is_list(kind) or not pa.types.is_floating(kind.value_type):
                message = "must be a column of lists of floats"
                self._rows.refuse(Fault((name,), message, str(kind)))
        self._rows.raise_faults()
        return names

    def _expect(self, file: pq.ParquetFile, names: dict[Part, str]) -> None:
        rows = file.metadata.num_rows
        if not 0 <= rows <= MAX_ROWS:
            raise refuse_parquet(f"it states {rows:,} rows")
        for name in names.values():
            if self._count_numbers(file, name) > rows * MAX_COLUMNS:
                message = f"must hold rows of 1 to {MAX_COLUMNS:,} numbers"
                self._rows.refuse(Fault((name,), message, self._count_numbers(file, name)))
        self._rows.raise_faults()
        self._rows.expect(sum(self._count_numbers(file, name) for name in names.values()))

    def _count_numbers(self, file: pq.ParquetFile, name: str) -> int:
        """Return how many numbers a column holds by the metadata of the file."""
        groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
        columns = (group.column(index) for group in groups for index in range(group.num_columns))
        return sum(
            column.num_values
            for column in columns
            if column.path_in_schema.partition(".")[0] == name
        )

    def _add(self, part: Part, name: str, column: Any) -> None:
        first = self._rows.count(part)
        if column.null_count:
            row = first + _first_true(column.is_null())
            self._rows.refuse(Fault((name, row), "must be a list of numbers, not null", None))
            return
        lengths = _list_lengths(column)
        if not len(lengths):
            return
        width = self._rows.width(part) or int(lengths[0])
        if not 1 <= width <= MAX_COLUMNS:
            message = f"must have 1 to {MAX_COLUMNS:,} numbers"
            self._rows.refuse(Fault((name, first), message, width))
            return
        ragged = np.flatnonzero(lengths != width)
        if len(ragged):
            length = int(lengths[ragged[0]])
            message = describe_other_length(length, width)
            self._rows.refuse(Fault((name, first + int(ragged[0])), message, length))
            return
        flat = column.flatten()
        if flat.null_count:
            row, place = divmod(_first_true(flat.is_null()), width)
            self._rows.refuse(Fault((name, first + row, place), "must be a number, not null", None))
            return
        self._rows.add(part, name, flat.to_numpy(zero_copy_only=False).reshape(-1, width))


def _is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _list_lengths(column: Any) -> NDArray[np.integer[Any]]:
    """Return the length of each list. PyArrow's own function takes 80 ms to load."""
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size)
    offsets: NDArray[np.integer[Any]] = column.offsets.to_numpy()
    return np.diff(offsets)


def _first_true(marks: Any) -> int:
    return int(np.flatnonzero(marks.to_numpy(zero_copy_only=False))[0])
