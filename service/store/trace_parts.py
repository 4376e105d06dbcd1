"""The trace of a run on the disk: a Parquet file a chunk, and one file once the run has ended.

Where some of the parts are damaged or lost, or there is no room for one file, the parts stay.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa

from energy_flow.trace.formats.parquet import merge_parquet, write_parquet
from energy_flow.trace.reader import count_records, read_batches
from energy_flow.trace.records import HasColumns
from service.problems import is_disk_full
from service.store.atomic_files import fsync, remove_path, write_file

TRACE = "trace.parquet"
"""The trace of a run that has ended."""

PARTS = "trace"
"""Folder of the files of a run that has not ended."""

_JOINED_PARTS = "trace.old"


class TraceParts:
    """The trace files of one run.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / PARTS

    def append(self, first_sample: int, trace: HasColumns, *, durable: bool) -> None:
        """Write the records of a chunk; a chunk without records has no file.

        Args:
            first_sample: Row of the chunk's first sample in the run.
            trace: Records of the chunk.
            durable: Whether to wait until the records are on the disk.

        Raises:
            OSError: The records could not be written.
        """
        if not len(trace.columns["seq"]):
            return
        self._parts.mkdir(exist_ok=True)
        part = self._part(first_sample)
        write_file(part, lambda file: write_parquet(trace, file), durable=durable)
        if durable:
            fsync(self._parts)

    def find(self, sample_from: int = 0) -> list[Path]:
        """Return the trace files in the order of samples.

        Args:
            sample_from: Leave out files that end before this sample.
        """
        joined = self._folder / TRACE
        if joined.exists():
            return [joined]
        return [self._folder / name for name in select_parts(self.list_names(), sample_from)]

    def list_names(self) -> list[str]:
        """Return the names of the files of chunks in the folder of the run, sorted."""
        return [f"{PARTS}/{part.name}" for part in self._find_parts()]

    def truncate(self, samples: int) -> None:
        """Remove the files of chunks behind the first ``samples`` samples."""
        for path in self._parts.glob("*"):
            first = _first_sample(path)
            if first is None or first >= samples:
                remove_path(path)

    def join(self, records: Mapping[int, int], *, durable: bool) -> list[str]:
        """Make one file of the parts; if that is not possible, they stay.

        A crash may interrupt this at any point; the next call completes it.

        Args:
            records: Number of records by first sample, of each chunk that has any.
            durable: Whether to wait until the file is on the disk before its parts are removed.

        Returns:
            Names of the files in the run's folder that are damaged or lost.

        Raises:
            OSError: A file could not be written.
        """
        joined = self._folder / TRACE
        shutil.rmtree(self._folder / _JOINED_PARTS, ignore_errors=True)
        if not self._parts.exists():
            # An earlier call has joined them, or all are lost.
            return [] if joined.exists() else [name_part(first) for first in records]
        for path in self._parts.glob("*"):
            if _first_sample(path) not in records:
                remove_path(path)
        is_whole = all(_count(self._part(first)) == count for first, count in records.items())
        # An interrupted call may have renamed the only part, or begun to remove them.
        is_joined = not is_whole and _count(joined) == sum(records.values())
        if not is_joined and not (is_whole and self._write_joined(records, durable=durable)):
            joined.unlink(missing_ok=True)
            return [
                name_part(first)
                for first, count in records.items()
                if not _is_sound(self._part(first), count)
            ]
        if durable:
            fsync(self._folder)
        # A half-removed folder of parts must not be taken for the trace.
        self._parts.rename(self._folder / _JOINED_PARTS)
        shutil.rmtree(self._folder / _JOINED_PARTS)
        return []

    def _write_joined(self, records: Mapping[int, int], *, durable: bool) -> bool:
        """Write the records of all parts as one file; return false if that is not possible.

        Raises:
            OSError: The file could not be written, although there is room for it.
        """
        joined = self._folder / TRACE
        parts = [self._part(first) for first in sorted(records)]
        if len(parts) == 1:
            if not _is_sound(parts[0], sum(records.values())):
                return False
            parts[0].replace(joined)
        elif parts:
            try:
                write_file(joined, lambda file: merge_parquet(parts, file), durable=durable)
            except (pa.ArrowException, OSError) as error:
                # An error of the system has a number, one of the decoder has none.
                if getattr(error, "errno", None) is not None and not is_disk_full(error):
                    raise
                return False
        return True

    def _part(self, first_sample: int) -> Path:
        return self._folder / name_part(first_sample)

    def _find_parts(self) -> list[Path]:
        return sorted(path for path in self._parts.glob("*") if _first_sample(path) is not None)


def name_part(first_sample: int) -> str:
    """Return the name of the file of a chunk in the folder of its run.

    Args:
        first_sample: Row of the chunk's first sample in the run.
    """
    return f"{PARTS}/{first_sample:012d}.parquet"


def _first_sample(path: Path) -> int | None:
    """Return the first sample of the file of a chunk; ``None`` for anything else."""
    return int(path.stem) if re.fullmatch(r"[0-9]{12}\.parquet", path.name) else None


def is_part(name: str) -> bool:
    """Return whether a name in the folder of a run is that of the trace of a chunk."""
    return name.startswith(f"{PARTS}/")


def select_parts(names: Iterable[str], start: int, stop: int | None = None) -> list[str]:
    """Return the names of the files of some samples, in the order of samples.

    Args:
        names: Names of the files of chunks.
        start: First sample.
        stop: Sample behind the last one; by default, all from the first on.
    """
    ordered = sorted(names)
    firsts = [int(Path(name).stem) for name in ordered]
    return [
        name
        for name, first, end in zip_longest(ordered, firsts, firsts[1:])
        if (end is None or end > start) and (stop is None or first < stop)
    ]


def _count(path: Path) -> int | None:
    """Return the number of records of a file; ``None`` if it is damaged or lost."""
    try:
        return count_records(path)
    except (pa.ArrowException, OSError):
        return None


def _is_sound(path: Path, count: int) -> bool:
    """Return whether a file has so many records, which are read for that."""
    try:
        return sum(len(batch) for batch in read_batches([path])) == count
    except (pa.ArrowException, OSError):
        return False
