"""The trace of a run on the disk: a Parquet file a chunk, and one file once the run has ended."""

from __future__ import annotations

import shutil
from pathlib import Path

from energy_flow.trace.formats.parquet import merge_parquet, write_parquet
from energy_flow.trace.records import HasColumns
from service.store.atomic_files import UNFINISHED, fsync, write_file

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
        part = self._parts / f"{first_sample:012d}.parquet"
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
        parts = self._find_parts()
        skipped = sum(1 for part in parts[1:] if int(part.stem) <= sample_from)
        return parts[skipped:]

    def truncate(self, samples: int) -> None:
        """Remove the files of chunks behind the first ``samples`` samples."""
        for part in self._parts.glob("*"):
            if part.name.endswith(UNFINISHED) or int(part.stem) >= samples:
                part.unlink()

    def join(self, samples: int, *, durable: bool) -> None:
        """Make one file of the parts of the first ``samples`` samples.

        A crash may interrupt this at any point; the next call completes it.

        Args:
            samples: Samples to keep.
            durable: Whether to wait until the file is on the disk before its parts are removed.

        Raises:
            OSError: The file could not be written.
        """
        joined = self._folder / TRACE
        shutil.rmtree(self._folder / _JOINED_PARTS, ignore_errors=True)
        if not self._parts.exists():
            return
        # An interrupted call may have renamed the only part already; then there is none.
        parts = [part for part in self._find_parts() if int(part.stem) < samples]
        if len(parts) == 1:
            parts[0].replace(joined)
        elif parts:
            write_file(joined, lambda file: merge_parquet(parts, file), durable=durable)
        if durable:
            fsync(self._folder)
        # A half-removed folder of parts must not be taken for the trace.
        self._parts.rename(self._folder / _JOINED_PARTS)
        shutil.rmtree(self._folder / _JOINED_PARTS)

    def _find_parts(self) -> list[Path]:
        return sorted(self._parts.glob("*.parquet")) if self._parts.exists() else []
