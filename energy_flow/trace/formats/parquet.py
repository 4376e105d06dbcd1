"""Traces as Parquet files, which is also how they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from energy_flow.trace.batches import SCHEMA, record_batch, regroup
from energy_flow.trace.formats import StepCounters
from energy_flow.trace.reader import read_batches
from energy_flow.trace.records import HasColumns
from energy_flow.trace.spool import Spool

ROW_GROUP: Final = 16_384
"""Records in a row group, at most; also what passes through memory at a time.

A filter reads the row groups that can hold what it keeps: fewer records in each is less to read.
"""
SMALL_TRACE: Final = 4096
"""Records, at most, of a trace that is compressed quickly rather than well."""

Compression = Literal["snappy", "zstd"]


def encode(
    batches: Iterable[pa.RecordBatch],
    _counters: StepCounters = tuple,
    row_group: int = ROW_GROUP,
) -> Iterator[bytes]:
    """Yield the bytes of one Parquet file.

    Args:
        batches: records sorted by (sample, seq).
        row_group: most records in a row group.
    """
    spool = Spool()
    with _parquet_writer(spool) as writer:
        for batch in regroup(batches, row_group):
            writer.write_batch(batch, row_group_size=row_group)
            yield spool.take()
    yield spool.take()


def write_parquet(
    trace: HasColumns, target: str | Path | IO[bytes], row_group: int = ROW_GROUP
) -> None:
    """Write a trace as one Parquet file, row groups sorted by (sample, seq).

    Args:
        trace: the trace to write.
        target: path of the file, or a file that is open for writing.
        row_group: most records in a row group.
    """
    batch = record_batch(trace.columns)
    # Of one small row group, zstd would spend most of the time on beginning a column.
    compression: Compression = "snappy" if len(batch) <= SMALL_TRACE else "zstd"
    path = str(target) if isinstance(target, Path) else target
    with _parquet_writer(path, compression) as writer:
        writer.write_batch(batch, row_group_size=row_group)


def merge_parquet(paths: Iterable[str | Path], target: IO[bytes]) -> None:
    """Write several Parquet files as one, in bounded memory.

    Args:
        paths: files whose concatenation is sorted by (sample, seq).
        target: where the one file is written.
    """
    with _parquet_writer(target) as writer:
        for batch in regroup(read_batches(paths), ROW_GROUP):
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def _parquet_writer(target: Any, compression: Compression = "zstd") -> pq.ParquetWriter:
    # Dictionaries pay for the columns of few values; floats and counters are all different.
    few_values: Any = ["step", "kind", "sample", "code", "plane"]
    return pq.ParquetWriter(target, SCHEMA, compression=compression, use_dictionary=few_values)
