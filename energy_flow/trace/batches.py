"""Trace records as Arrow batches: the schema, and conversion from and to NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from energy_flow.trace.records import (
    COLUMN_DTYPES,
    COLUMNS,
    KINDS,
    PLANES,
    REASONS,
    TERMINATE,
    WALL_BITS,
    Columns,
)

FORMAT_VERSION: Final = "1"

_KIND_TYPE: Final = pa.dictionary(pa.int8(), pa.string())
_LEGEND: Final[dict[bytes | str, bytes | str]] = {
    "energy_flow.format_version": FORMAT_VERSION,
    "energy_flow.sorted_by": "sample,seq",
    "energy_flow.kinds": ",".join(KINDS),
    "energy_flow.reasons": ",".join(REASONS),
    "energy_flow.planes": ",".join(PLANES),
    "energy_flow.wall_bits": ",".join(f"{name}={bit}" for name, bit in WALL_BITS.items()),
}

SCHEMA: Final = pa.schema(
    [
        pa.field(
            name,
            _KIND_TYPE if name == "kind" else pa.from_numpy_dtype(column.dtype),
            nullable=False,
            metadata={"description": column.meaning},
        )
        for name, column in COLUMNS.items()
    ],
    metadata=_LEGEND,
)
"""The columns as Arrow types, with their meanings."""


def record_batch(columns: Columns) -> pa.RecordBatch:
    """Return columns of numbers as one Arrow batch."""
    arrays: list[Any] = []
    for field in SCHEMA:
        values = np.ascontiguousarray(columns[field.name])
        if field.name == "kind":
            arrays.append(_kind_array(values))
        else:
            arrays.append(number_array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def number_array(values: NDArray[Any], arrow_type: pa.DataType) -> Any:
    """Return numbers as an Arrow array, without copying them.

    ``pa.array`` does the same, but imports pandas where it is installed, which takes most of a
    second and tens of MiB.

    Args:
        values: contiguous, without missing values.
        arrow_type: has as many bits as the numbers.
    """
    return pa.Array.from_buffers(arrow_type, len(values), [None, pa.py_buffer(values.data)])


def _numpy(array: Any) -> NDArray[Any]:
    # ``to_numpy`` would import pandas as well.
    values: NDArray[Any] = np.from_dlpack(array)
    return values


def kind_codes(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """Return the ``kind`` column as codes of ``choices.TraceKind``, uint8 [records].

    Raises:
        ValueError: it has another name than those of kinds.
    """
    column: Any = batch.column("kind")
    # A file's dictionary may hold the names in another order than ours.
    order = np.array([KINDS.index(name) for name in column.dictionary.to_pylist()], dtype=np.uint8)
    indices: NDArray[np.int8] = _numpy(column.indices)
    return order[indices] if len(order) else np.zeros(0, dtype=np.uint8)


def numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    """Return a column of numbers, [records]."""
    return _numpy(batch.column(name))


def columns_of(batches: Iterable[pa.RecordBatch]) -> dict[str, NDArray[Any]]:
    """Return the columns of batches, ``kind`` as codes; the inverse of :func:`record_batch`."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMN_DTYPES}
    for batch in batches:
        for name in COLUMN_DTYPES:
            parts[name].append(kind_codes(batch) if name == "kind" else numbers(batch, name))
    return {
        name: np.concatenate(parts[name]) if parts[name] else np.zeros(0, dtype=dtype)
        for name, dtype in COLUMN_DTYPES.items()
    }


def rows_of(batch: pa.RecordBatch, mask: NDArray[np.bool_]) -> pa.RecordBatch:
    """Return the rows of a batch that a mask selects."""
    return batch.take(number_array(np.flatnonzero(mask), pa.int64()))


def reorder_dictionary(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with the names of kinds in our order, as a stream of batches needs it."""
    arrays: list[Any] = [
        _kind_array(kind_codes(batch)) if field.name == "kind" else batch.column(field.name)
        for field in SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def regroup(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same records in batches of exactly ``rows``; only the last may be shorter."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += len(batch)
        if count < rows:
            continue
        joined = _join(held)
        for start in range(0, count - count % rows, rows):
            yield joined.slice(start, rows)
        held, count = [joined.slice(count - count % rows)], count % rows
    if count:
        yield _join(held)


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return record_batch(columns_of(batches))


def _kind_array(codes: NDArray[Any]) -> Any:
    indices = number_array(codes.astype(np.int8), pa.int8())
    return pa.DictionaryArray.from_arrays(indices, _kind_names())


@cache
def _kind_names() -> Any:
    offsets: NDArray[Any] = np.cumsum([0, *map(len, KINDS)], dtype=np.int32)
    text = "".join(KINDS).encode()
    return pa.StringArray.from_buffers(len(KINDS), pa.py_buffer(offsets.data), pa.py_buffer(text))


def check_records(
    batch: pa.RecordBatch, samples: int, after: tuple[int, int] = (-1, -1)
) -> tuple[int, int]:
    """Refuse what are no trace records of a run.

    Args:
        batch: records, as many as there may be.
        samples: of the run.
        after: (sample, seq) of the record before them.

    Returns:
        (sample, seq) of the last one.

    Raises:
        ValueError: columns, kinds, codes or the order are not those of records.
    """
    for field in SCHEMA:
        column: Any = batch.column(field.name)
        found = column.type.value_type if field.name == "kind" else column.type
        if found != (pa.string() if field.name == "kind" else field.type) or column.null_count:
            raise ValueError(f"its column {field.name} is not that of trace records")
    if not len(batch):
        return after
    codes, planes = numbers(batch, "code"), numbers(batch, "plane")
    ended = kind_codes(batch) == TERMINATE
    if (codes[ended] >= len(REASONS)).any() or not np.isin(planes, range(-1, len(PLANES))).all():
        raise ValueError("it has a code that stands for nothing")
    sample = np.concatenate(([after[0]], numbers(batch, "sample")))
    seq = np.concatenate(([after[1]], numbers(batch, "seq")))
    follows = (sample[1:] > sample[:-1]) | ((sample[1:] == sample[:-1]) & (seq[1:] > seq[:-1]))
    if not follows.all() or sample[-1] >= samples:
        raise ValueError("its records are not those of the run in their order")
    return int(sample[-1]), int(seq[-1])
