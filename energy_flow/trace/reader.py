"""Reading stored traces, whole or filtered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy_flow.trace.batches import kind_codes, numbers, rows_of
from energy_flow.trace.records import COLUMNS, KINDS


class Openable(Protocol):
    """A file that is opened for reading by something else than its path."""

    def open(self) -> IO[bytes]:
        """Open it."""
        ...


TraceFile = str | Path | Openable
"""A Parquet file of records."""


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which records to read; ``None`` leaves a column unfiltered.

    Attributes:
        kinds: names of kinds.
        samples: numbers of samples.
        flows: ids of flows.
        step_from: first step.
        step_to: last step.
        after: (sample, seq) of a record; it and those before it are left out.
        until: (sample, seq) of a record; those after it are left out.
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
        """Return whether nothing is left out."""
        return self == TraceFilter()

    def mask(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Return which records of a batch are kept, bool [records]."""
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
        """Return whether a row group can hold a record that is kept, by its statistics."""
        spans = _spans(group)
        return (
            _touches(spans.get("sample"), self.samples)
            and _touches(spans.get("flow"), self.flows)
            and (self.step_from is None or _last(spans.get("step")) >= self.step_from)
            and (self.step_to is None or _first(spans.get("step")) <= self.step_to)
            and (self.after is None or _last(spans.get("sample")) >= self.after[0])
            and (self.until is None or _first(spans.get("sample")) <= self.until[0])
        )


def read_batches(
    paths: Iterable[TraceFile], keep: TraceFilter | None = None, limit: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the kept records of Parquet files, file by file; empty batches are left out.

    Args:
        paths: files whose concatenation is sorted by (sample, seq).
        keep: which records; all of them by default.
        limit: how many records at most.
    """
    keep = keep or TraceFilter()
    left = limit
    for path in paths:
        with _open(path) as file:
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


def check_columns(path: TraceFile) -> None:
    """Refuse a file without the columns of a trace.

    Args:
        path: the file.

    Raises:
        ValueError: it is no Parquet, or a column is missing or has no values of the kind.
    """
    with _open(path) as file:
        schema = file.schema_arrow
        for name in COLUMNS:
            if name not in schema.names:
                raise ValueError(f"it has no column {name}")
            held = schema.field(name).type
            is_right = pa.types.is_dictionary if name == "kind" else _is_number
            if not is_right(held):
                expected = "a dictionary of names" if name == "kind" else "numbers"
                raise ValueError(f"its column {name} holds {held}, not {expected}")


def _is_number(held: pa.DataType) -> bool:
    return pa.types.is_integer(held) or pa.types.is_floating(held)


def count_records(path: TraceFile) -> int:
    """Return the number of records of a file; no record is read.

    Args:
        path: the file.
    """
    with _open(path) as file:
        count: int = file.metadata.num_rows
        return count


def last_of(batch: pa.RecordBatch | pa.Table) -> tuple[int, int]:
    """Return (sample, seq) of the last record of a batch or a table."""
    row = batch.slice(len(batch) - 1).to_pydict()
    return row["sample"][0], row["seq"][0]


def last_record(paths: Sequence[TraceFile]) -> tuple[int, int] | None:
    """Return (sample, seq) of the last record of files, or nothing where they hold none.

    Args:
        paths: as for :func:`read_batches`.
    """
    for path in reversed(paths):
        with _open(path) as file:
            for number in reversed(range(file.num_row_groups)):
                group = file.read_row_group(number, columns=["sample", "seq"])
                if len(group):
                    return last_of(group)
    return None


@contextmanager
def _open(path: TraceFile) -> Iterator[pq.ParquetFile]:
    if isinstance(path, str | Path):
        with pq.ParquetFile(path) as file:
            yield file
        return
    with path.open() as opened, pq.ParquetFile(opened) as file:
        yield file


def _spans(group: pq.RowGroupMetaData) -> dict[str, tuple[Any, Any]]:
    """Return the smallest and the largest value of each column that has statistics."""
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
