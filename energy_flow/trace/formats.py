"""Readers and writers of traces as files and streams, in each format.

A format is one row of :data:`FORMATS`: a function that turns record batches into bytes, piece by
piece, so that a trace of any length passes through bounded memory. All of them give the columns of
``records.COLUMN_DTYPES`` in that order; ``kind`` is a name, as a dictionary column where the format
knows such.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES, KINDS, PLANES, REASONS

ROW_GROUP: Final = 65_536
"""Records in a row group of a Parquet file, at most; also what passes through memory at once."""

_KIND_TYPE: Final = pa.dictionary(pa.int8(), pa.string())
_LEGEND: Final[dict[bytes | str, bytes | str]] = {
    "energy_flow.format_version": "1",
    "energy_flow.reasons": ",".join(REASONS),
    "energy_flow.planes": ",".join(PLANES),
}

SCHEMA: Final = pa.schema(
    [
        pa.field(
            name,
            _KIND_TYPE if name == "kind" else pa.from_numpy_dtype(dtype),
            nullable=False,
        )
        for name, dtype in COLUMN_DTYPES.items()
    ],
    metadata=_LEGEND,
)
"""The columns as Arrow types."""


class HasColumns(Protocol):
    """A trace: columns of equal length, sorted by (sample, seq)."""

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Arrays by the names of ``records.COLUMN_DTYPES``."""
        ...


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which records to read; ``None`` leaves a column alone.

    Attributes:
        kinds: names of kinds.
        samples, flows: numbers to keep.
        step_from, step_to: first and last step.
        after: (sample, seq) of a record; only those behind it are read.
    """

    kinds: frozenset[str] | None = None
    samples: frozenset[int] | None = None
    flows: frozenset[int] | None = None
    step_from: int | None = None
    step_to: int | None = None
    after: tuple[int, int] | None = None

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is left out."""
        return self == TraceFilter()

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which records of a batch are kept."""
        keep = np.ones(len(batch), dtype=np.bool_)
        if self.samples is not None:
            keep &= np.isin(_numbers(batch, "sample"), sorted(self.samples))
        if self.flows is not None:
            keep &= np.isin(_numbers(batch, "flow"), sorted(self.flows))
        if self.step_from is not None:
            keep &= _numbers(batch, "step") >= self.step_from
        if self.step_to is not None:
            keep &= _numbers(batch, "step") <= self.step_to
        if self.kinds is not None:
            codes = [code for code, name in enumerate(KINDS) if name in self.kinds]
            keep &= np.isin(kind_codes(batch), codes)
        if self.after is not None:
            sample, seq = self.after
            samples = _numbers(batch, "sample")
            keep &= (samples > sample) | ((samples == sample) & (_numbers(batch, "seq") > seq))
        return keep

    def may_match(self, group: pq.RowGroupMetaData) -> bool:
        """Whether a row group can hold a record that is kept, by its statistics."""
        spans = _spans(group)
        return (
            _touches(spans.get("sample"), self.samples)
            and _touches(spans.get("flow"), self.flows)
            and (self.step_from is None or _last(spans.get("step")) >= self.step_from)
            and (self.step_to is None or _first(spans.get("step")) <= self.step_to)
            and (self.after is None or _last(spans.get("sample")) >= self.after[0])
        )


def record_batch(columns: Mapping[str, NDArray[Any]]) -> pa.RecordBatch:
    """Columns of numbers as one Arrow batch."""
    arrays = []
    for field in SCHEMA:
        values = np.ascontiguousarray(columns[field.name])
        if field.name == "kind":
            codes = values.astype(np.int8)
            arrays.append(pa.DictionaryArray.from_arrays(codes, pa.array(KINDS)))
        else:
            arrays.append(pa.array(values, type=field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def kind_codes(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    """The ``kind`` column as the numbers of ``records.KINDS``."""
    column: Any = batch.column("kind")
    # A file's dictionary may hold the names in another order than ours.
    order = np.array([KINDS.index(name) for name in column.dictionary.to_pylist()], dtype=np.uint8)
    indices: NDArray[np.int8] = column.indices.to_numpy(zero_copy_only=False)
    return order[indices] if len(order) else np.zeros(0, dtype=np.uint8)


def columns_of(batches: Iterable[pa.RecordBatch]) -> dict[str, NDArray[Any]]:
    """The numbers of some batches, ``kind`` as codes; the inverse of :func:`record_batch`."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMN_DTYPES}
    for batch in batches:
        for name in COLUMN_DTYPES:
            parts[name].append(kind_codes(batch) if name == "kind" else _numbers(batch, name))
    return {
        name: np.concatenate(parts[name]) if parts[name] else np.zeros(0, dtype=dtype)
        for name, dtype in COLUMN_DTYPES.items()
    }


def write_parquet(trace: HasColumns, target: str | Path | IO[bytes]) -> None:
    """Writes a trace as one Parquet file: zstd, row groups sorted by (sample, seq)."""
    batch = record_batch(trace.columns)
    with _parquet_writer(target if not isinstance(target, Path) else str(target)) as writer:
        writer.write_batch(batch, row_group_size=ROW_GROUP)


def read_batches(
    paths: Iterable[str | Path], keep: TraceFilter | None = None, limit: int | None = None
) -> Iterator[pa.RecordBatch]:
    """The kept records of Parquet files, file by file; empty batches are left out.

    Args:
        paths: files whose concatenation is sorted by (sample, seq).
        keep: which records; all of them by default.
        limit: how many records at most.
    """
    keep = keep or TraceFilter()
    left = limit
    for path in paths:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                if left == 0:
                    return
                if not keep.may_match(file.metadata.row_group(number)):
                    continue
                for batch in file.read_row_group(number).to_batches():
                    kept = batch if keep.keeps_all else batch.filter(pa.array(keep.mask(batch)))
                    if left is not None:
                        kept = kept.slice(0, left)
                        left -= len(kept)
                    if len(kept):
                        yield kept


def last_record(paths: Sequence[str | Path]) -> tuple[int, int] | None:
    """(sample, seq) of the last record of files as for :func:`read_batches`, if there is one."""
    for path in reversed(paths):
        with pq.ParquetFile(path) as file:
            for number in reversed(range(file.num_row_groups)):
                group = file.read_row_group(number, columns=["sample", "seq"])
                if len(group):
                    row = group.slice(len(group) - 1).to_pydict()
                    return row["sample"][0], row["seq"][0]
    return None


def to_parquet(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Record batches as one Parquet file, a row group each."""
    spool = _Spool()
    with _parquet_writer(spool) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield spool.take()
    yield spool.take()


def to_ndjson(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Record batches as JSON objects, one a line; floats as short as float32 allows."""
    line = b"{" + b",".join(b'"%b":%%b' % name.encode() for name in COLUMN_DTYPES) + b"}\n"
    names = [b'"%b"' % name.encode() for name in KINDS]
    for batch in batches:
        for start in range(0, len(batch), 8192):
            part = batch.slice(start, 8192)
            texts = [
                [names[code] for code in kind_codes(part)]
                if name == "kind"
                else _texts(_numbers(part, name))
                for name in COLUMN_DTYPES
            ]
            yield b"".join(line % row for row in zip(*texts, strict=True))


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """One way to write a trace.

    Attributes:
        name: as callers ask for it, also the suffix of files.
        media_type: as HTTP names it.
        write: record batches to bytes, piece by piece.
    """

    name: str
    media_type: str
    write: Callable[[Iterable[pa.RecordBatch]], Iterator[bytes]]


FORMATS: Final[Mapping[str, TraceFormat]] = {
    trace_format.name: trace_format
    for trace_format in (
        TraceFormat("parquet", "application/vnd.apache.parquet", to_parquet),
        TraceFormat("ndjson", "application/x-ndjson", to_ndjson),
    )
}
"""Formats by name; the first is the default."""


class _Spool(io.RawIOBase):
    """Takes what a writer writes and gives it away in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """Everything written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _parquet_writer(target: Any) -> pq.ParquetWriter:
    # Dictionaries pay for the columns of few values; floats and counters are all different.
    few_values: Any = ["step", "kind", "sample", "code", "plane"]
    return pq.ParquetWriter(target, SCHEMA, compression="zstd", use_dictionary=few_values)


def _numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    numbers: NDArray[Any] = batch.column(name).to_numpy(zero_copy_only=False)
    return numbers


def _texts(values: NDArray[Any]) -> list[bytes]:
    dumped = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return dumped[1:-1].split(b",") if len(values) else []


def _spans(group: pq.RowGroupMetaData) -> dict[str, tuple[Any, Any]]:
    spans = {}
    for number in range(group.num_columns):
        column = group.column(number)
        statistics = column.statistics
        if statistics is not None and statistics.has_min_max:
            spans[column.path_in_schema] = (statistics.min, statistics.max)
    return spans


def _touches(span: tuple[int, int] | None, wanted: frozenset[int] | None) -> bool:
    if span is None or wanted is None:
        return True
    return any(span[0] <= value <= span[1] for value in wanted)


def _first(span: tuple[int, int] | None) -> float:
    return -np.inf if span is None else span[0]


def _last(span: tuple[int, int] | None) -> float:
    return np.inf if span is None else span[1]
