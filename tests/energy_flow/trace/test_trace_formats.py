"""Trace formats: written traces are read back whole, filtered and in parts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
)

from energy_flow.choices import TraceFormat
from energy_flow.trace.batches import SCHEMA, columns_of
from energy_flow.trace.formats import encode_trace, parquet
from energy_flow.trace.reader import TraceFilter, last_record, read_batches
from energy_flow.trace.records import COLUMN_DTYPES, KINDS


@dataclass(frozen=True)
class SomeTrace:
    columns: dict[str, NDArray[Any]]


def some_trace(samples: range, seed: int = 0) -> SomeTrace:
    generator = np.random.default_rng(seed)
    sample = np.repeat(np.array(samples), generator.integers(0, 9, len(samples)))
    count = len(sample)
    columns: dict[str, NDArray[Any]] = {
        name: generator.normal(size=count) if dtype.kind == "f" else generator.integers(0, 3, count)
        for name, dtype in COLUMN_DTYPES.items()
    }
    columns["sample"] = sample
    columns["seq"] = np.arange(count) - np.searchsorted(sample, sample)
    columns["flow"] = generator.integers(0, 2**40, count)
    columns["parent"] = columns["flow"] - 5
    return SomeTrace({name: columns[name].astype(dtype) for name, dtype in COLUMN_DTYPES.items()})


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.parquet"
        trace = some_trace(range(20 * number, 20 * number + 20), number)
        parquet.write_parquet(trace, path, row_group=16)
        found.append(path)
    return found


def whole() -> dict[str, NDArray[Any]]:
    parts = [some_trace(range(20 * number, 20 * number + 20), number) for number in range(3)]
    return {name: np.concatenate([part.columns[name] for part in parts]) for name in COLUMN_DTYPES}


def equal(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> bool:
    return list(found) == list(COLUMN_DTYPES) and all(
        found[name].dtype == dtype and np.array_equal(found[name], expected[name])
        for name, dtype in COLUMN_DTYPES.items()
    )


def test_written_traces_are_read_back(paths: list[Path]) -> None:
    assert pq.ParquetFile(paths[0]).num_row_groups > 1
    assert equal(columns_of(read_batches(paths)), whole())


@pytest.mark.parametrize(
    "keep",
    [
        TraceFilter(kinds=frozenset({"spawn"})),
        TraceFilter(samples=frozenset({0, 33, 59, 1000})),
        TraceFilter(flows=frozenset({7})),
        TraceFilter(step_from=1, step_to=1),
        TraceFilter(step_from=5),
        TraceFilter(after=(33, 1)),
        TraceFilter(after=(33, 10**6), kinds=frozenset({"reflect", "terminate"}), step_to=0),
    ],
)
@pytest.mark.parametrize("limit", [None, 0, 1, 10, 10**6])
def test_filters(paths: list[Path], keep: TraceFilter, limit: int | None) -> None:
    columns = whole()
    mask = np.ones(len(columns["seq"]), dtype=bool)
    if keep.kinds is not None:
        mask &= np.isin(columns["kind"], [KINDS.index(kind) for kind in keep.kinds])
    if keep.samples is not None:
        mask &= np.isin(columns["sample"], list(keep.samples))
    if keep.flows is not None:
        mask &= np.isin(columns["flow"], list(keep.flows))
    if keep.step_from is not None:
        mask &= columns["step"] >= keep.step_from
    if keep.step_to is not None:
        mask &= columns["step"] <= keep.step_to
    if keep.after is not None:
        sample, seq = keep.after
        behind = (columns["sample"] == sample) & (columns["seq"] > seq)
        mask &= (columns["sample"] > sample) | behind
    expected = {name: column[mask][:limit] for name, column in columns.items()}
    assert equal(columns_of(read_batches(paths, keep, limit)), expected)


def test_parquet_as_a_stream(paths: list[Path]) -> None:
    pieces = list(parquet.encode(read_batches(paths), row_group=16))
    assert len(pieces) > 3
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.schema_arrow.equals(SCHEMA)
    assert equal(columns_of(file.read().to_batches()), whole())


def test_ndjson_as_a_stream(paths: list[Path]) -> None:
    text = b"".join(encode_trace("ndjson", read_batches(paths)))
    records = [orjson.loads(line) for line in text.splitlines()]
    assert [list(record) for record in records[:1]] == [list(COLUMN_DTYPES)]
    columns = {
        name: np.array(
            [KINDS.index(r[name]) if name == "kind" else r[name] for r in records], dtype=dtype
        )
        for name, dtype in COLUMN_DTYPES.items()
    }
    assert equal(columns, whole())


def test_an_empty_trace() -> None:
    written = {known.value: b"".join(encode_trace(known, iter([]))) for known in TraceFormat}
    assert pq.ParquetFile(io.BytesIO(written["parquet"])).metadata.num_rows == 0
    assert pa.ipc.open_stream(written["arrow"]).read_all().num_rows == 0
    assert written["ndjson"] == b""
    assert written["csv"].decode() == ",".join(COLUMN_DTYPES) + "\n"
    assert Trace.FromString(written["perfetto"]).packet[0].HasField("interned_data")


def test_the_last_record(paths: list[Path], tmp_path: Path) -> None:
    columns = whole()
    last = (int(columns["sample"][-1]), int(columns["seq"][-1]))
    assert last_record(paths) == last
    empty = tmp_path / "empty.parquet"
    parquet.write_parquet(some_trace(range(0)), empty)
    assert last_record([*paths, empty]) == last
    assert last_record([]) is None
