"""Columns of Parquet and Arrow files: lists of numbers, or a number each, some rows at a time.

Only a parser process imports this module, because PyArrow can end the process with a damaged file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy_flow.choices import DatasetFormat
from energy_flow.errors import Fault
from service.datasets.formats.column_file import refuse_column_file
from service.datasets.formats.rows import MAX_COLUMNS, MAX_ROWS, Rows
from service.datasets.parsing.messages import Converted
from service.requests.columns import (
    ChosenColumns,
    Column,
    Content,
    Part,
    Selection,
    choose_columns,
)
from service.requests.number_rows import describe_other_length
from service.store.dataset_files import PartFiles

_BATCH_BYTES = 4 * 2**20
_MAX_BATCH_ROWS = 65_536


def convert_columns(
    source: Path,
    file_format: str,
    selection: Selection,
    results: Mapping[str, Path],
    max_bytes: int,
) -> Converted:
    """Append the selected rows of a file of columns to other files, as float32.

    Args:
        source: The file. Columns that are neither inputs nor targets are ignored.
        file_format: ``parquet`` or ``arrow``.
        selection: What is read of it.
        results: The file of each part.
        max_bytes: Most bytes of the dataset.

    Returns:
        The rows and where they came from.

    Raises:
        Problem: 400, the file is damaged; 413, the dataset is too large; 422, with every fault of
            the rows that were read.
        MemoryError: Memory does not suffice.
        OSError: The rows could not be written.
    """
    with closing(PartFiles(results, max_bytes)) as files:
        rows = Rows(files, selection)
        reader = _BatchReader(rows)
        batches = (
            reader.read_parquet(source)
            if file_format == DatasetFormat.PARQUET
            else reader.read_arrow(source)
        )
        for batch in _refusing_damage(batches, file_format):
            reader.add(batch)
            rows.raise_faults()
            if rows.is_complete:
                break
        return Converted(rows.shapes, rows.source)


def _refusing_damage(batches: Iterator[Any], file_format: str) -> Iterator[Any]:
    try:
        yield from batches
    except MemoryError:
        # PyArrow's is one of its own exceptions as well.
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise refuse_column_file(file_format, str(error)) from None


class _BatchReader:
    """Reads the chosen columns of a file.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._chosen = ChosenColumns()

    def read_parquet(self, path: Path) -> Iterator[Any]:
        """Yield batches of a Parquet file that have the chosen columns."""
        # Mapped, so that memory need not hold a whole row group.
        with pq.ParquetFile(path, memory_map=True) as file:
            self._choose(file.schema_arrow)
            names = self._chosen.names
            counts = _count_numbers(file, names)
            self._expect(file.metadata.num_rows, counts)
            width = 8 * counts.total() // max(1, file.metadata.num_rows)
            yield from file.iter_batches(_batch_rows(width), columns=names)

    def read_arrow(self, path: Path) -> Iterator[Any]:
        """Yield batches of an IPC file or stream that have the chosen columns."""
        with pa.memory_map(str(path)) as file:
            if _is_ipc_file(file):
                yield from self._read_ipc_file(file)
            else:
                yield from self._read_ipc_stream(file)

    def add(self, batch: Any) -> None:
        """Check and write the rows of a batch."""
        for part, names in self._chosen.parts.items():
            columns = [batch.column(name) for name in names]
            if _content_of(columns[0].type) is Content.ROWS:
                self._add_lists(part, names[0], _storage_of(columns[0]))
            else:
                self._add_numbers(part, names, columns)

    def _choose(self, schema: pa.Schema) -> None:
        columns = [Column(one.name, _content_of(one.type), str(one.type)) for one in schema]
        self._chosen = choose_columns(
            columns, self._rows.selection, "a column of lists of numbers", may_be_spread=True
        )
        self._rows.refuse(*self._chosen.faults)
        self._rows.raise_faults()
        self._rows.source = self._chosen.describe("column")

    def _expect(self, rows: int, counts: Counter[str]) -> None:
        if not 0 <= rows <= MAX_ROWS:
            raise refuse_column_file(DatasetFormat.PARQUET, f"it states {rows:,} rows")
        for name, count in counts.items():
            if count > rows * MAX_COLUMNS:
                message = f"must hold rows of 1 to {MAX_COLUMNS:,} numbers"
                self._rows.refuse(Fault((name,), message, count))
        self._rows.raise_faults()
        self._rows.expect(counts.total())

    def _add_lists(self, part: Part, name: str, column: Any) -> None:
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

    def _add_numbers(self, part: Part, names: Sequence[str], columns: Sequence[Any]) -> None:
        first = self._rows.count(part)
        faults = [
            Fault((name, first + _first_true(column.is_null())), "must be a number, not null", None)
            for name, column in zip(names, columns, strict=True)
            if column.null_count
        ]
        if faults:
            self._rows.refuse(*faults)
        elif len(columns[0]):
            arrays = [column.to_numpy(zero_copy_only=False) for column in columns]
            self._rows.add(part, names[0], np.stack(arrays, axis=1), names)

    def _read_ipc_file(self, file: pa.NativeFile) -> Iterator[Any]:
        options = self._read_options(pa.ipc.open_file(file).schema)
        reader = pa.ipc.open_file(file, options=options)
        for number in range(reader.num_record_batches):
            yield from self._cut(reader.get_batch(number))

    def _read_ipc_stream(self, file: pa.NativeFile) -> Iterator[Any]:
        options = self._read_options(pa.ipc.open_stream(file).schema)
        file.seek(0)
        for batch in pa.ipc.open_stream(file, options=options):
            yield from self._cut(batch)

    def _read_options(self, schema: pa.Schema) -> pa.ipc.IpcReadOptions:
        self._choose(schema)
        fields = [schema.get_field_index(name) for name in self._chosen.names]
        return pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)

    def _cut(self, batch: Any) -> Iterator[Any]:
        """Yield a batch, which can be of any size, in parts."""
        # Arrow takes the offsets of lists from the file as they are.
        batch.validate(full=True)
        step = _batch_rows(batch.nbytes // max(1, batch.num_rows))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def _is_ipc_file(file: pa.NativeFile) -> bool:
    start = file.read(6)
    file.seek(0)
    return bool(start == b"ARROW1")


def _batch_rows(row_bytes: int) -> int:
    return max(1, min(_BATCH_BYTES // max(row_bytes, 1), _MAX_BATCH_ROWS))


def _content_of(kind: Any) -> Content:
    if isinstance(kind, pa.FixedShapeTensorType):
        is_row = len(kind.shape) == 1 and _is_number(kind.value_type)
        return Content.ROWS if is_row else Content.OTHER
    if _is_number(kind):
        return Content.NUMBER
    if _is_text(kind):
        return Content.TEXT
    return Content.ROWS if _is_list(kind) and _is_number(kind.value_type) else Content.OTHER


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _storage_of(column: Any) -> Any:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _list_lengths(column: Any) -> NDArray[np.integer[Any]]:
    """Return the length of each list. PyArrow's own function takes 80 ms to load."""
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size)
    offsets: NDArray[np.integer[Any]] = column.offsets.to_numpy()
    return np.diff(offsets)


def _count_numbers(file: pq.ParquetFile, names: Sequence[str]) -> Counter[str]:
    """Return how many numbers some columns hold by the metadata of the file."""
    wanted = frozenset(names)
    counts: Counter[str] = Counter()
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        for place in range(group.num_columns):
            column = group.column(place)
            # The numbers of lists are at NAME.list.element; names can have dots.
            path = column.path_in_schema
            name = path if path in wanted else path.rsplit(".", 2)[0]
            if name in wanted:
                counts[name] += column.num_values
    return counts


def _first_true(marks: Any) -> int:
    return int(np.flatnonzero(marks.to_numpy(zero_copy_only=False))[0])
