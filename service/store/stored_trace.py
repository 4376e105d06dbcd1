"""The trace of a stored run, verified when it is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from energy_flow.trace.batches import check_records
from energy_flow.trace.reader import (
    TraceFile,
    TraceFilter,
    count_records,
    last_record,
    read_batches,
)
from service.store.run_folder import RunFolder
from service.store.trace_parts import TRACE, is_part, select_parts
from service.store.verification.verified_file import VerifiedFile

# What reading other columns, names or types than those of records raises.
_OTHER_RECORDS = (ValueError, LookupError, TypeError)


class StoredTrace:
    """The trace files of one run, for reading.

    Args:
        folder: Folder of the run.
        samples: Samples of the run.
        names: Names of the files that a run must have which has ended; ``None`` for another one.
        open_file: Returns the file of a name.
        count: Returns the number of records that a file must have, by its name, if it is known.
    """

    def __init__(
        self,
        folder: RunFolder,
        samples: int,
        names: Collection[str] | None,
        open_file: Callable[[str], VerifiedFile],
        count: Callable[[str], int | None],
    ) -> None:
        self._folder = folder
        self._samples = samples
        self._names = names
        self._open_file = open_file
        self._count = count

    def files(
        self, sample_from: int = 0, sample_to: int | None = None
    ) -> Sequence[Path | VerifiedFile]:
        """Return the trace files in the order of samples.

        Args:
            sample_from: Leave out files that end before this sample.
            sample_to: Leave out files of an ended run that begin with this sample or behind it.
        """
        if self._names is None:
            return self._folder.trace_parts(sample_from)
        if TRACE in self._names:
            return [self._open_file(TRACE)]
        parts = select_parts(filter(is_part, self._names), sample_from, sample_to)
        return [self._open_file(name) for name in parts]

    def check(self, files: Sequence[TraceFile]) -> None:
        """Verify trace files as a whole.

        Args:
            files: Some of the trace files; those of an active run are not verified.

        Raises:
            DamagedFile: A file is damaged.
        """
        for file in files:
            if not isinstance(file, VerifiedFile):
                continue
            file.check()
            if not file.has_digests:
                for _ in self.read([file]):
                    pass

    def read(
        self,
        files: Sequence[TraceFile],
        keep: TraceFilter | None = None,
        limit: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield records of trace files, as :func:`read_batches` does.

        Args:
            files: Some of the trace files.
            keep: Which records; all of them by default.
            limit: How many records at most.

        Raises:
            DamagedFile: A file is damaged.
            FileNotFoundError: The parts of an active run are one file now.
        """
        left = limit
        for file in files:
            if left == 0:
                return
            for batch in self._read_file(file, keep, left):
                left = None if left is None else left - len(batch)
                yield batch

    def last_record(self, files: Sequence[TraceFile]) -> tuple[int, int] | None:
        """Return (sample, seq) of the last record of trace files, or nothing.

        Args:
            files: Some of the trace files.

        Raises:
            DamagedFile: A file is damaged.
            FileNotFoundError: The parts of an active run are one file now.
        """
        for file in reversed(files):
            with self._decoding(file):
                found = last_record([file])
            if found is not None:
                return found
        return None

    def _read_file(
        self, file: TraceFile, keep: TraceFilter | None, limit: int | None
    ) -> Iterator[pa.RecordBatch]:
        is_verified = isinstance(file, VerifiedFile) and file.has_digests
        with self._decoding(file):
            if isinstance(file, VerifiedFile) and not is_verified:
                self._check_count(file)
        batches = read_batches([file], keep, limit)
        last = (-1, -1)
        while True:
            with self._decoding(file):
                batch = next(batches, None)
                if batch is not None and not is_verified:
                    last = check_records(batch, self._samples, last)
            if batch is None:
                return
            yield batch

    def _check_count(self, file: VerifiedFile) -> None:
        wanted = self._count(file.path.relative_to(self._folder.path).as_posix())
        count = count_records(file)
        if wanted is not None and count != wanted:
            raise file.damage(f"it has {count:,} records instead of {wanted:,}")

    @contextmanager
    def _decoding(self, file: TraceFile) -> Iterator[None]:
        """Read records of a file within a block, and report what are no records as damage."""
        try:
            yield
        except (pa.ArrowException, OSError, *_OTHER_RECORDS) as error:
            # An error of the system has a number, one of the decoder has none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if isinstance(file, Path):
                file = self._open_file(file.relative_to(self._folder.path).as_posix())
            assert isinstance(file, VerifiedFile)
            if file.has_digests and not isinstance(error, pa.ArrowException | OSError):
                raise
            raise file.damage(f"it cannot be decoded: {error}") from error
