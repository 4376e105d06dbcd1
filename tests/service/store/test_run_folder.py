"""Interrupted folders of runs: complete chunks are kept, and writing can continue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES
from service.store.npy_file import RowLayout
from service.store.run_folder import RunFolder, remove_folders
from service.store.run_summary import RunSummary
from service.store.unfinished_run import UnfinishedRun
from tests.support.chunk_lines import make_line
from tests.support.damage import DAMAGES, HEADER_CHANGES, Damage, flip

SIZES = (3, 1, 4, 2)
"""Samples of each chunk."""
STARTS = tuple(sum(SIZES[:number]) for number in range(len(SIZES)))
SAMPLES = sum(SIZES)
RECORDS = 5
"""Trace records of each sample."""
LAYOUTS = {
    "surface": RowLayout((3, 2), np.dtype(np.float32)),
    "hits": RowLayout((2, 3, 2), np.dtype(np.int32)),
}


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
    samples = np.repeat(np.arange(STARTS[number], STARTS[number] + SIZES[number]), RECORDS)
    columns = {name: np.zeros(len(samples), dtype) for name, dtype in COLUMN_DTYPES.items()}
    columns["sample"] = samples.astype(np.int32)
    columns["seq"] = np.tile(np.arange(RECORDS), SIZES[number])
    return Records(columns)


@cache
def line(number: int) -> dict[str, Any]:
    return make_line(STARTS[number], SIZES[number], records=SIZES[number] * RECORDS)


def append(folder: RunFolder, number: int) -> None:
    folder.append(
        STARTS[number], SAMPLES, outputs(number), records(number), line(number), durable=True
    )


def summary(chunks: int = len(SIZES)) -> RunSummary:
    """Return what the first chunks come to."""
    made = RunSummary()
    made.samples_done = sum(SIZES[:chunks])
    made.records = {STARTS[number]: SIZES[number] * RECORDS for number in range(chunks)}
    made.memory, made.profile = {"steps": [1, 2]}, {}
    return made


def begun(path: Path, chunks: int = len(SIZES)) -> RunFolder:
    folder = RunFolder(path)
    folder.create(None)
    for number in range(chunks):
        append(folder, number)
    return folder


def unfinished(folder: RunFolder) -> UnfinishedRun:
    return UnfinishedRun(folder, LAYOUTS)


def content(path: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()
    }


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    unfinished(begun(path)).seal(summary())
    return content(path)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run"
    yield path
    shutil.rmtree(path)


def test_sealed_folders_can_be_read(sealed: dict[str, bytes], tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    unfinished(folder).seal(summary())
    assert set(sealed) == {
        *("surface.npy", "hits.npy", "trace.parquet", "chunks.jsonl", "memory.json", "profile.json")
    }
    for name in ("surface", "hits"):
        expected = np.concatenate([outputs(number)[name] for number in range(len(SIZES))])
        assert np.array_equal(np.load(tmp_path / "run" / f"{name}.npy"), expected)
    samples = pq.read_table(tmp_path / "run" / "trace.parquet")["sample"].to_pylist()
    assert samples == np.repeat(np.arange(SAMPLES), RECORDS).tolist()


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
    lines = unfinished(folder).rewind()
    assert [line["first_sample"] for line in lines] == list(STARTS[:whole])
    for number in range(whole, len(SIZES)):
        append(folder, number)
    unfinished(folder).seal(summary())
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
    assert len(unfinished(folder).rewind()) == 1
    for number in range(1, len(SIZES)):
        append(folder, number)
    unfinished(folder).seal(summary())
    assert content(fresh) == sealed


def test_a_line_without_its_numbers_is_none(fresh: Path, sealed: dict[str, bytes]) -> None:
    folder = begun(fresh, 3)
    os.truncate(fresh / "hits.npy.part", (fresh / "hits.npy.part").stat().st_size - 1)
    assert len(unfinished(folder).rewind()) == 2
    for number in range(2, len(SIZES)):
        append(folder, number)
    unfinished(folder).seal(summary())
    assert content(fresh) == sealed


@pytest.mark.parametrize("chunks", [1, len(SIZES)])
@pytest.mark.parametrize("rest", ["parts", "both", "empty", "old", "whole"])
@pytest.mark.parametrize("named", [(), ("surface",), ("surface", "hits")])
def test_an_interrupted_sealing_is_repeated(
    fresh: Path, chunks: int, rest: str, named: tuple[str, ...]
) -> None:
    """Yield the states of the folder during a sealing."""
    rows = sum(SIZES[:chunks])
    unfinished(begun(fresh, chunks)).seal(summary(chunks))
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
    assert sum(len(line["samples"]) for line in unfinished(folder).rewind()) == rows
    assert unfinished(folder).seal(summary(chunks)) == []
    assert content(fresh) == after


@pytest.mark.parametrize("chunks", [1, len(SIZES)])
@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("damage", [one for one in DAMAGES.values() if one is not flip])
def test_a_trace_with_a_damaged_part_stays_in_parts(
    fresh: Path, sealed: dict[str, bytes], damage: Damage, number: int, chunks: int
) -> None:
    folder = begun(fresh, chunks)
    names = [f"trace/{start:012d}.parquet" for start in STARTS[:chunks]]
    before = content(fresh)
    damage(fresh / names[number])
    assert unfinished(folder).seal(summary(chunks)) == [names[number]]
    after = content(fresh)
    for name in set(names) - {names[number]}:
        assert after[name] == before[name]
    assert "trace.parquet" not in after
    if chunks == len(SIZES):
        assert after["surface.npy"] == sealed["surface.npy"]
    # Nothing else is needed for the whole once the part is restored.
    (fresh / names[number]).write_bytes(before[names[number]])
    assert unfinished(folder).seal(summary(chunks)) == []
    assert (fresh / "trace.parquet").exists()


def test_a_lost_trace_is_noticed(fresh: Path) -> None:
    folder = begun(fresh, 2)
    shutil.rmtree(fresh / "trace")
    assert unfinished(folder).seal(summary(2)) == [
        f"trace/{start:012d}.parquet" for start in STARTS[:2]
    ]


def test_a_part_with_other_records_is_damaged(fresh: Path) -> None:
    folder = begun(fresh, 3)
    parts = sorted((fresh / "trace").iterdir())
    shutil.copy(parts[1], parts[2])
    assert unfinished(folder).seal(summary(3)) == [f"trace/{STARTS[2]:012d}.parquet"]


def test_an_output_with_a_damaged_header_keeps_the_others(
    fresh: Path, sealed: dict[str, bytes]
) -> None:
    folder = begun(fresh)
    with (fresh / "hits.npy.part").open("r+b") as file:
        file.write(bytes(16))
    assert unfinished(folder).seal(summary()) == ["hits.npy"]
    after = content(fresh)
    assert {name: after[name] for name in set(sealed) - {"hits.npy"}} == {
        name: sealed[name] for name in set(sealed) - {"hits.npy"}
    }


@pytest.mark.parametrize("damage", HEADER_CHANGES.values(), ids=HEADER_CHANGES)
@pytest.mark.parametrize("chunks", [2, len(SIZES)])
def test_numbers_behind_a_changed_header_are_not_used(
    fresh: Path, sealed: dict[str, bytes], damage: Damage, chunks: int
) -> None:
    folder = begun(fresh, chunks)
    part = fresh / "surface.npy.part"
    before = part.read_bytes()
    damage(part)
    changed = part.read_bytes()
    intact = unfinished(folder).rewind()
    assert len(intact) == chunks
    (found,) = unfinished(folder).find_damages(intact)
    assert found.file == "test/run/surface.npy.part".replace("test", fresh.parent.name)
    assert part.read_bytes() == changed
    # Nothing else is needed once it is restored.
    part.write_bytes(before)
    assert not list(unfinished(folder).find_damages(intact))
    damage(part)
    assert unfinished(folder).seal(summary(chunks)) == ["surface.npy"]
    assert (fresh / "surface.npy").read_bytes() == changed
    assert len(np.load(fresh / "hits.npy")) == sum(SIZES[:chunks])


@pytest.mark.parametrize("damage", HEADER_CHANGES.values(), ids=HEADER_CHANGES)
def test_a_changed_header_is_found_when_an_interrupted_sealing_is_repeated(
    fresh: Path, damage: Damage
) -> None:
    folder = begun(fresh)
    assert unfinished(folder).seal(summary()) == []
    damage(fresh / "surface.npy")
    assert unfinished(folder).seal(summary()) == ["surface.npy"]


def test_a_removed_run_is_none_on_the_disk_before_its_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [begun(tmp_path / name, 2) for name in ("a", "b")]
    names_on_disk: list[list[str]] = []
    names_when_removed: list[list[str]] = []
    fsync, rmtree = os.fsync, shutil.rmtree

    def watch_fsync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), tmp_path.stat()):
            names_on_disk.append(sorted(path.name for path in tmp_path.iterdir()))
        fsync(descriptor)

    def watch_rmtree(path: Path, **options: Any) -> None:
        names_when_removed.append(names_on_disk[-1])
        rmtree(path, **options)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(shutil, "rmtree", watch_rmtree)
    remove_folders(folders)
    # A power cut leaves at least what was on the disk then: no name of a run.
    assert names_when_removed == [[".a.part", ".b.part"]] * 2
    assert list(tmp_path.iterdir()) == []
