"""pandas, polars and DuckDB open each format and read every number unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from energy_flow.trace.batches import FORMAT_VERSION
from energy_flow.trace.formats.parquet import write_parquet
from energy_flow.trace.reader import TraceFilter, read_batches
from energy_flow.trace.records import COLUMN_DTYPES, COLUMNS, KINDS
from tests.support.traces import SAMPLES, expected, result, stored, written

Read = Callable[[str], Mapping[str, Any]]


def same(found: Mapping[str, Any], *, exact: bool) -> None:
    """Every column, in order; text formats give floats in as few digits as float32 needs."""
    wanted = expected()
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        values = np.asarray(found[name])
        if name == "kind":
            assert values.astype(str).tolist() == column.tolist()
            continue
        if exact:
            assert values.dtype == COLUMN_DTYPES[name]
        assert np.array_equal(values.astype(column.dtype), column), name


def from_pandas(frame: pd.DataFrame) -> Mapping[str, Any]:
    return {str(name): frame[name].to_numpy() for name in frame.columns}


def from_polars(frame: pl.DataFrame) -> Mapping[str, Any]:
    return {name: frame[name].to_numpy() for name in frame.columns}


def from_duckdb(query: str) -> Mapping[str, Any]:
    found = duckdb.sql(query)
    assert found is not None
    return dict(found.fetchnumpy())


def arrow(path: str) -> pa.Table:
    with pa.OSFile(path, "r") as file:
        return pa.ipc.open_stream(file).read_all()


READERS: dict[tuple[str, str], Read] = {
    ("parquet", "pandas"): lambda path: from_pandas(pd.read_parquet(path)),
    ("parquet", "polars"): lambda path: from_polars(pl.read_parquet(path)),
    ("parquet", "duckdb"): lambda path: from_duckdb(f"from read_parquet('{path}')"),
    ("arrow", "pandas"): lambda path: from_pandas(arrow(path).to_pandas()),
    ("arrow", "polars"): lambda path: from_polars(pl.read_ipc_stream(path)),
    ("ndjson", "pandas"): lambda path: from_pandas(pd.read_json(path, lines=True)),
    ("ndjson", "polars"): lambda path: from_polars(pl.read_ndjson(path)),
    ("ndjson", "duckdb"): lambda path: from_duckdb(f"from read_ndjson('{path}')"),
    ("csv", "pandas"): lambda path: from_pandas(pd.read_csv(path)),
    ("csv", "polars"): lambda path: from_polars(pl.read_csv(path)),
    ("csv", "duckdb"): lambda path: from_duckdb(f"from read_csv('{path}')"),
}


@pytest.mark.parametrize(("name", "reader"), list(READERS))
def test_curves_are_read_back(tmp_path: Path, name: str, reader: str) -> None:
    path = str(written(tmp_path, name))
    same(READERS[name, reader](path), exact=name in ("parquet", "arrow"))


def test_duckdb_reads_an_arrow_stream(tmp_path: Path) -> None:
    table = arrow(str(written(tmp_path, "arrow")))
    assert table.num_rows == len(result().trace)
    same(dict(duckdb.from_arrow(table).fetchnumpy()), exact=True)


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_files_describe_their_columns(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    schema = pq.read_schema(path) if name == "parquet" else arrow(str(path)).schema
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    assert metadata["energy_flow.format_version"] == FORMAT_VERSION
    assert metadata["energy_flow.reasons"] == "plane,projected,converged,max_steps,stalled"
    assert metadata["energy_flow.sorted_by"] == "sample,seq"
    for field in schema:
        assert (field.metadata or {})[b"description"].decode() == COLUMNS[field.name].meaning


def test_a_filter_by_sample_leaves_row_groups_unread(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    write_parquet(result().trace, path, row_group=50)
    metadata = pq.ParquetFile(path).metadata
    keep = TraceFilter(samples=frozenset({SAMPLES // 2}))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    read = [group for group in groups if keep.may_match(group)]
    assert 0 < len(read) < len(groups) / 2
    kept = sum(len(batch) for batch in read_batches([path], keep))
    assert kept == len(result().trace.select(sample=SAMPLES // 2))


@pytest.mark.parametrize(
    ("keep", "capacity"), [("latest", 10), ("earliest", 10), ("lossless", 1), ("latest", 4096)]
)
def test_losses_are_reported_and_visible(tmp_path: Path, keep: str, capacity: int) -> None:
    """Counters are exact, and missing records leave gaps in ``seq``."""
    run = result(keep, capacity)
    counters = run.metrics.counters
    totals = {
        "spawn": counters.spawned,
        "reflect": counters.to_dict()["reflected"],
        "terminate": counters.ended,
    }
    assert run.trace.totals == totals
    frame = pd.read_parquet(stored(tmp_path, keep, capacity))
    counted = frame["kind"].value_counts()
    assert run.trace.recorded == {kind: int(counted.get(kind, 0)) for kind in KINDS}
    lost = {kind: totals[kind] - run.trace.recorded[kind] for kind in KINDS}
    assert run.trace.dropped == lost
    assert ("trace_capacity" in counters.overflow) == (sum(lost.values()) > 0)
    each = run.trace.counters.total.sum(1)
    for sample, seq in frame.groupby("sample")["seq"]:
        numbers = seq.tolist()
        made = int(each[int(str(sample))])
        first = made - capacity if keep == "latest" and made > capacity else 0
        assert numbers == list(range(first, first + len(numbers)))
        if keep == "lossless":
            assert len(numbers) == made
    assert (sum(lost.values()) == 0) == (capacity == 4096 or keep == "lossless")
