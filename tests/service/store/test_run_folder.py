"""Interrupted folders of runs: complete chunks are kept, and writing can continue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES
from service.store.run_folder import RunFolder

SIZES = (3, 1, 4, 2)
"""Samples of each chunk."""
STARTS = tuple(sum(SIZES[:number]) for number in range(len(SIZES)))
SAMPLES = sum(SIZES)
DOCUMENTS = {"memory": {"steps": [1, 2]}, "profile": {}}


@dataclass
class Records:
    columns: dict[str, NDArray[Any]]


def outputs(number: int) -> dict[str, NDArray[Any]]:
    chance = np.random.default_rng(number)
    size = SIZES[number]
    return {
        "surface": chance.normal(size=(size, 3, 2)).astype(np.float32),
        "hits": chance.integers(0, 9, size=(size, 2, 3, 2), dtype=np.int32),
    }


def records(number: int) -> Records:
    samples = np.repeat(np.arange(STARTS[number], STARTS[number] + SIZES[number]), 5)
    columns = {name: np.zeros(len(samples), dtype) for name, dtype in COLUMN_DTYPES.items()}
    columns["sample"] = samples.astype(np.int32)
    columns["seq"] = np.tile(np.arange(5), SIZES[number])
    return Records(columns)


def append(folder: RunFolder, number: int) -> None:
    line = {
        "first_sample": STARTS[number],
        "samples": [{"sample": STARTS[number] + row} for row in range(SIZES[number])],
    }
    folder.append(STARTS[number], SAMPLES, outputs(number), records(number), line, durable=True)


def begun(path: Path, chunks: int = len(SIZES)) -> RunFolder:
    folder = RunFolder(path)
    folder.create(None)
    for number in range(chunks):
        append(folder, number)
    return folder


def content(path: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()
    }


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    begun(path).seal(SAMPLES, DOCUMENTS)
    return content(path)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run"
    yield path
    shutil.rmtree(path)


def test_sealed_folders_can_be_read(sealed: dict[str, bytes], tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    folder.seal(SAMPLES, DOCUMENTS)
    assert set(sealed) == {
        *("surface.npy", "hits.npy", "trace.parquet", "chunks.jsonl", "memory.json", "profile.json")
    }
    for name in ("surface", "hits"):
        expected = np.concatenate([outputs(number)[name] for number in range(len(SIZES))])
        assert np.array_equal(np.load(tmp_path / "run" / f"{name}.npy"), expected)
    samples = pq.read_table(tmp_path / "run" / "trace.parquet")["sample"].to_pylist()
    assert samples == np.repeat(np.arange(SAMPLES), 5).tolist()


@pytest.mark.slow
@settings(max_examples=25)
@given(whole=some.integers(0, 3), data=some.data())
def test_a_chunk_cut_short_anywhere_is_written_again(
    whole: int, data: some.DataObject, sealed: dict[str, bytes], tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("cut") / "run"
    folder = begun(path, whole)
    before = content(path)
    append(folder, whole)
    # Any part of what the last chunk added is there, but not its line as a whole.
    for name, after in content(path).items():
        first = len(before.get(name, b""))
        stop = len(after) - (1 if name == "chunks.jsonl" else 0)
        os.truncate(path / name, data.draw(some.integers(first, stop), name))
    trace = path / "trace"
    trace.mkdir(exist_ok=True)
    (trace / f"{STARTS[whole]:012d}.parquet").unlink(missing_ok=True)
    if data.draw(some.booleans(), "part"):
        (trace / f"{STARTS[whole]:012d}.parquet.part").write_bytes(b"half")
    lines = folder.rewind()
    assert [line["first_sample"] for line in lines] == list(STARTS[:whole])
    for number in range(whole, len(SIZES)):
        append(folder, number)
    folder.seal(SAMPLES, DOCUMENTS)
    assert content(path) == sealed
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("chunks", [2, 3])
def test_lines_from_one_with_a_hole_on_are_none(
    fresh: Path, sealed: dict[str, bytes], chunks: int
) -> None:
    folder = begun(fresh, chunks)
    lines = (fresh / "chunks.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = bytes(len(lines[1]) - 1) + b"\n"
    (fresh / "chunks.jsonl").write_bytes(b"".join(lines))
    assert len(folder.rewind()) == 1
    for number in range(1, len(SIZES)):
        append(folder, number)
    folder.seal(SAMPLES, DOCUMENTS)
    assert content(fresh) == sealed


def test_a_line_without_its_numbers_is_none(fresh: Path, sealed: dict[str, bytes]) -> None:
    folder = begun(fresh, 3)
    os.truncate(fresh / "hits.npy.part", (fresh / "hits.npy.part").stat().st_size - 1)
    assert len(folder.rewind()) == 2
    for number in range(2, len(SIZES)):
        append(folder, number)
    folder.seal(SAMPLES, DOCUMENTS)
    assert content(fresh) == sealed


@pytest.mark.parametrize("chunks", [1, len(SIZES)])
@pytest.mark.parametrize("rest", ["parts", "both", "empty", "old", "whole"])
@pytest.mark.parametrize("named", [(), ("surface",), ("surface", "hits")])
def test_an_interrupted_sealing_is_repeated(
    fresh: Path, chunks: int, rest: str, named: tuple[str, ...]
) -> None:
    """Yield the states of the folder during a sealing."""
    rows = sum(SIZES[:chunks])
    begun(fresh, chunks).seal(rows, DOCUMENTS)
    after = content(fresh)
    shutil.rmtree(fresh)
    folder = begun(fresh, chunks)
    for name in named:
        (fresh / f"{name}.npy.part").unlink()
        (fresh / f"{name}.npy").write_bytes(after[f"{name}.npy"])
    if rest != "parts":
        (fresh / "trace.parquet").write_bytes(after["trace.parquet"])
    if rest == "empty":
        shutil.rmtree(fresh / "trace")
        (fresh / "trace").mkdir()
    elif rest == "old":
        (fresh / "trace").rename(fresh / "trace.old")
    elif rest == "whole":
        shutil.rmtree(fresh / "trace")
    (fresh / "memory.json.part").write_bytes(b"{")
    assert sum(len(line["samples"]) for line in folder.rewind()) == rows
    folder.seal(rows, DOCUMENTS)
    assert content(fresh) == after
