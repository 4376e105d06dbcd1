"""Readers and writers of traces as files and streams, in each format.

A format is one row of :data:`FORMATS`: a function that turns record batches into bytes, piece by
piece, so that a trace of any length passes through bounded memory. All of them give the columns of
``records.COLUMN_DTYPES`` in that order; ``kind`` is a name, as a dictionary column where the format
knows such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy_flow.trace.batches import (
    FORMAT_VERSION,
    SCHEMA,
    columns_of,
    kind_codes,
    numbers,
    record_batch,
    regrouped,
    rows_of,
)
from energy_flow.trace.perfetto import StepCounter, to_perfetto
from energy_flow.trace.records import KINDS
from energy_flow.trace.streams import Spool, to_arrow, to_csv, to_ndjson

__all__ = [
    "FORMATS",
    "FORMAT_VERSION",
    "SCHEMA",
    "HasColumns",
    "StepCounter",
    "TraceFilter",
    "TraceFormat",
    "columns_of",
    "kind_codes",
    "last_of",
    "last_record",
    "merge_parquet",
    "read_batches",
    "record_batch",
    "to_arrow",
    "to_csv",
    "to_ndjson",
    "to_parquet",
    "to_perfetto",
    "write_parquet",
]

ROW_GROUP: Final = 16_384
"""Records in a row group of a Parquet file, at most; also what passes through memory at once.

A filter reads the row groups that can hold what it keeps: fewer records in each is less to read.
"""
Compression = Literal["snappy", "zstd"]

SMALL_TRACE: Final = 4096
"""Records, at most, of a trace that is compressed quickly rather than well."""


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
        until: (sample, seq) of a record; it and those before it are read.
    """

    kinds: frozenset[str] | None = None
    samples: frozenset[int] | None = None
    flows: frozenset[int] | None = None
    step_from: int | None = None
    step_to: int | None = None
    after: tuple[int, int] | None = None
    until: tuple[int, int] | None = None

    @property
    def keeps_all(self) -> bool:
        """Whether nothing is left out."""
        return self == TraceFilter()

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which records of a batch are kept."""
        keep = np.ones(len(batch), dtype=np.bool_)
        if self.samples is not None:
            keep &= np.isin(numbers(batch, "sample"), sorted(self.samples))
        if self.flows is not None:
            keep &= np.isin(numbers(batch, "flow"), sorted(self.flows))
        if self.step_from is not None:
            keep &= numbers(batch, "step") >= self.step_from
        if self.step_to is not None:
            keep &= numbers(batch, "step") <= self.step_to
        if self.kinds is not None:
            codes = [code for code, name in enumerate(KINDS) if name in self.kinds]
            keep &= np.isin(kind_codes(batch), codes)
        if self.after is not None:
            sample, seq = self.after
            samples = numbers(batch, "sample")
            keep &= (samples > sample) | ((samples == sample) & (numbers(batch, "seq") > seq))
        if self.until is not None:
            sample, seq = self.until
            samples = numbers(batch, "sample")
            keep &= (samples < sample) | ((samples == sample) & (numbers(batch, "seq") <= seq))
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
            and (self.until is None or _first(spans.get("sample")) <= self.until[0])
        )


def write_parquet(trace: HasColumns, target: str | Path | IO[bytes]) -> None:
    """Writes a trace as one Parquet file, row groups sorted by (sample, seq)."""
    batch = record_batch(trace.columns)
    # Of one small row group, zstd would spend most of the time on beginning a column.
    compression: Compression = "snappy" if len(batch) <= SMALL_TRACE else "zstd"
    path = str(target) if isinstance(target, Path) else target
    with _parquet_writer(path, compression) as writer:
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
                    kept = batch if keep.keeps_all else rows_of(batch, keep.mask(batch))
                    if left is not None:
                        kept = kept.slice(0, left)
                        left -= len(kept)
                    if len(kept):
                        yield kept


def last_of(batch: pa.RecordBatch) -> tuple[int, int]:
    """(sample, seq) of the last record of a batch."""
    row = batch.slice(len(batch) - 1).to_pydict()
    return row["sample"][0], row["seq"][0]


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
    """Record batches as one Parquet file."""
    spool = Spool()
    with _parquet_writer(spool) as writer:
        for batch in regrouped(batches, ROW_GROUP):
            writer.write_batch(batch, row_group_size=ROW_GROUP)
            yield spool.take()
    yield spool.take()


def merge_parquet(paths: Iterable[str | Path], target: IO[bytes]) -> None:
    """Files as for :func:`read_batches` as one, in bounded memory."""
    with _parquet_writer(target) as writer:
        for batch in regrouped(read_batches(paths), ROW_GROUP):
            writer.write_batch(batch, row_group_size=ROW_GROUP)


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """One way to write a trace.

    Attributes:
        name: as callers ask for it.
        suffix: of files.
        media_type: as HTTP names it.
        write: record batches to bytes, piece by piece.
        shows_counters: whether it can also show what was counted at each step.
    """

    name: str
    suffix: str
    media_type: str
    write: Callable[[Iterable[pa.RecordBatch]], Iterator[bytes]]
    shows_counters: bool = False

    def pieces(
        self, batches: Iterable[pa.RecordBatch], counters: Sequence[StepCounter] = ()
    ) -> Iterator[bytes]:
        """The whole file, with the counters where it can show them."""
        return to_perfetto(batches, counters) if self.shows_counters else self.write(batches)


FORMATS: Final[Mapping[str, TraceFormat]] = {
    trace_format.name: trace_format
    for trace_format in (
        TraceFormat("parquet", "parquet", "application/vnd.apache.parquet", to_parquet),
        TraceFormat("arrow", "arrows", "application/vnd.apache.arrow.stream", to_arrow),
        TraceFormat("ndjson", "ndjson", "application/x-ndjson", to_ndjson),
        TraceFormat("csv", "csv", "text/csv", to_csv),
        TraceFormat(
            "perfetto",
            "perfetto-trace",
            "application/x-perfetto-trace",
            to_perfetto,
            shows_counters=True,
        ),
    )
}
"""Formats by name; the first is the default."""


def _parquet_writer(target: Any, compression: Compression = "zstd") -> pq.ParquetWriter:
    # Dictionaries pay for the columns of few values; floats and counters are all different.
    few_values: Any = ["step", "kind", "sample", "code", "plane"]
    return pq.ParquetWriter(target, SCHEMA, compression=compression, use_dictionary=few_values)


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
