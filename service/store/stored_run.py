"""What is stored of one run, verified when it is read.

Of a run that has ended, the index knows which files there are, and the digests of their pieces; it
has no digest of a file that was damaged or lost before the end. An active run has chunks so far,
whose files still grow. Runs of earlier versions and of a rebuilt index have no digests: of their
files, only damage is found that makes them unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from energy_flow.choices import RunKind
from energy_flow.trace.formats import StepCounter
from energy_flow.trace.reader import TraceFile, TraceFilter, last_record, read_batches
from energy_flow.training.store import TrainingFolder
from service.problems import DamagedFile, UnusablePath
from service.store.chunk_log import parse_lines
from service.store.npy_file import StoredArray
from service.store.run_folder import CHUNKS, INPUTS, SAMPLE_KEYS, TRAINING_EVENTS, RunFolder
from service.store.tables import RunRow
from service.store.trace_parts import TRACE, is_part, name_part, select_parts
from service.store.verification.piece_digests import FileDigests
from service.store.verification.verified_file import VerifiedFile

ADVICE = "restore it from a backup, or delete the run and simulate it again"
ADVICE_FOR_CHUNKS = (
    "restore it from a backup; otherwise the samples from that line on are dropped, and a trial "
    "computes them again"
)


@dataclass(frozen=True, slots=True)
class StoredInputs:
    """The embeddings of a stored run, read from its folder when they are needed.

    Attributes:
        file: File of the embeddings.
        rows: Number of embeddings.
    """

    file: VerifiedFile
    rows: int

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return some embeddings, float32 [stop - start, dim].

        Args:
            start: First row.
            stop: Row behind the last one.

        Raises:
            DamagedFile: The file is damaged there, or lost.
        """
        return StoredArray(self.file).read(start, stop)


class StoredRun:
    """The files of one run, for reading.

    Args:
        folder: Folder of the run.
        row: Row of the run.
        digests: Digests of its files by name, as far as they are known.

    Attributes:
        has_digests: Whether changes of its files are found.
    """

    def __init__(self, folder: RunFolder, row: RunRow, digests: FileDigests | None) -> None:
        self.has_digests = digests is not None
        self._folder = folder
        self._digests = digests or {}
        self._rows = row.samples
        self._files: frozenset[str] | None = None
        if row.is_complete:
            self._files = _expected_files(row, folder) if digests is None else frozenset(digests)

    def list_files(self) -> list[VerifiedFile]:
        """Return all files of a run that has ended; of another one, those that do not grow."""
        names = self._digests if self._files is None else self._files
        return [self._file(name) for name in sorted(names)]

    def find_damages(self) -> Iterator[DamagedFile | UnusablePath]:
        """Yield what is wrong with the files."""
        for file in self.list_files():
            try:
                file.check()
                if not file.has_digests:
                    self._parse(file)
            except (DamagedFile, UnusablePath) as problem:
                yield problem
        for read in (self._parse_chunks, self._parse_events) if self._files is None else ():
            try:
                read()
            except (DamagedFile, UnusablePath) as problem:
                yield problem

    def has_output(self, name: str) -> bool:
        """Return whether a run that has ended has an output."""
        return self._has(f"{name}.npy")

    def output(self, name: str) -> StoredArray:
        """Return an output [samples, ...] of a run that has ended.

        Args:
            name: Name of an output that it has.

        Raises:
            DamagedFile: The file cannot be read.
        """
        return StoredArray(self._file(f"{name}.npy"))

    def has_document(self, name: str) -> bool:
        """Return whether a run that has ended has a JSON document."""
        return self._has(f"{name}.json")

    def document(self, name: str) -> bytes:
        """Return a JSON document of a run that has ended.

        Args:
            name: Name of a document that it has.

        Raises:
            DamagedFile: The file is damaged.
        """
        file = self._file(f"{name}.json")
        with file.open() as opened:
            data = opened.read()
        try:
            if not file.has_digests:
                orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise file.damage(f"it is no JSON: {error}") from error
        return data

    def read_chunks(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the complete chunks, in order.

        Raises:
            DamagedFile: The file is damaged.
        """
        if self._files is not None and CHUNKS not in self._files:
            return
        file = self._file(CHUNKS, ADVICE_FOR_CHUNKS if self._files is None else ADVICE)
        if self._files is None and not file.path.exists():
            return
        number = 1
        try:
            with file.open() as opened:
                for line, _ in parse_lines(opened):
                    yield line
                    number += 1
        except orjson.JSONDecodeError as error:
            raise file.damage(f"line {number} is no JSON: {error}") from error

    def read_samples(self, first: int, count: int) -> list[dict[str, Any]]:
        """Return the counters of finished samples.

        Args:
            first: Row of the first sample.
            count: Most samples to return.

        Raises:
            DamagedFile: The file is damaged.
        """
        found: list[dict[str, Any]] = []
        for chunk in self.read_chunks():
            start = chunk["first_sample"]
            if start + len(chunk["samples"]) > first + len(found):
                found += chunk["samples"][first + len(found) - start :]
            if len(found) >= count:
                break
        return found[:count]

    def read_curves(self, points: int) -> dict[str, list[float | None]]:
        """Return the curves of a training.

        Args:
            points: Most optimiser steps, evenly spaced.

        Raises:
            DamagedFile: The file of its events is damaged.
        """
        file = self._file(TRAINING_EVENTS)
        if file.has_digests:
            file.check()
        try:
            with file.explaining():
                return TrainingFolder(self._folder.training).curves(points)
        except (ValueError, KeyError, TypeError) as error:
            raise file.damage(f"it has a line that is no event: {error}") from error

    def has_inputs(self) -> bool:
        """Return whether a run that has ended has embeddings that came with the request."""
        return self._has(INPUTS)

    def inputs(self) -> StoredInputs:
        """Return the embeddings that came with the request."""
        return StoredInputs(self._file(INPUTS), self._rows)

    def sample_keys(self) -> NDArray[np.int64] | None:
        """Return the sample keys that came with the request, if any.

        Raises:
            DamagedFile: The file is damaged.
        """
        file = self._file(SAMPLE_KEYS)
        if not file.has_digests and not file.path.exists():
            return None
        return StoredArray(file).read(0, self._rows)

    def trace_files(
        self, sample_from: int = 0, sample_to: int | None = None
    ) -> Sequence[Path | VerifiedFile]:
        """Return the trace files in the order of samples.

        Args:
            sample_from: Leave out files that end before this sample.
            sample_to: Leave out files of an ended run that begin with this sample or behind it.
        """
        if self._files is None:
            return self._folder.trace_parts(sample_from)
        if TRACE in self._files:
            return [self._file(TRACE)]
        parts = select_parts(filter(is_part, self._files), sample_from, sample_to)
        return [self._file(name) for name in parts]

    def check_trace(self, files: Sequence[TraceFile]) -> None:
        """Verify trace files as a whole.

        Args:
            files: Some of the trace files; those of an active run are not verified.

        Raises:
            DamagedFile: A file is damaged.
        """
        for file in files:
            if isinstance(file, VerifiedFile):
                file.check()
                if self.has_digests and not file.has_digests:
                    self._parse(file)

    def read_trace(
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

    def step_counters(self) -> tuple[StepCounter, ...]:
        """Return the active flows and the memory after each step of a run that has ended.

        The chunks of a large run take their steps one after the other. Step t of a run is step t of
        all its chunks here: their flows are added, and the largest memory counts.

        Returns:
            Counters by step; none for a run without telemetry.

        Raises:
            DamagedFile: A file is damaged.
        """
        if not self.has_document("memory"):
            return ()
        memory = orjson.loads(self.document("memory"))["steps"]
        steps = orjson.loads(self.document("profile"))["step_metrics"]
        active: dict[int, int] = {}
        host: dict[int, int] = {}
        device: dict[int, int] = {}
        for step, sample in zip(steps, memory, strict=False):
            number = step["step"]
            active[number] = active.get(number, 0) + step["active"]
            _set_largest(host, number, sample["host_rss_bytes"])
            _set_largest(device, number, sample["device_allocated_bytes"])
        counters = (
            StepCounter("active flows", "count", active),
            StepCounter("host memory", "bytes", host),
            StepCounter("device memory", "bytes", device),
        )
        return tuple(counter for counter in counters if counter.values)

    def _read_file(
        self, file: TraceFile, keep: TraceFilter | None, limit: int | None
    ) -> Iterator[pa.RecordBatch]:
        batches = read_batches([file], keep, limit)
        while True:
            with self._decoding(file):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def _decoding(self, file: TraceFile) -> Iterator[None]:
        """Read records of a file within a block, and report what is no Parquet as damage."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            # An error of the system has a number, one of the decoder has none.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if isinstance(file, Path):
                file = self._file(file.relative_to(self._folder.path).as_posix())
            assert isinstance(file, VerifiedFile)
            raise file.damage(f"it cannot be decoded: {error}") from error

    def _parse(self, file: VerifiedFile) -> None:
        """Read a file without digests as a request would.

        Raises:
            DamagedFile: It cannot be read.
        """
        name = file.path.name
        if file.path.suffix == ".parquet":
            for _ in self.read_trace([file]):
                pass
        elif name == CHUNKS:
            self._parse_chunks()
        elif file.path.suffix == ".json":
            self.document(file.path.stem)
        elif file.path.suffix == ".npy":
            StoredArray(file)

    def _parse_chunks(self) -> None:
        for _ in self.read_chunks():
            pass

    def _parse_events(self) -> None:
        if self._file(TRAINING_EVENTS).path.exists():
            self.read_curves(1)

    def _has(self, name: str) -> bool:
        return self._files is not None and name in self._files

    def _file(self, name: str, advice: str = ADVICE) -> VerifiedFile:
        depth = 3 + name.count("/")
        return VerifiedFile(self._folder.path / name, self._digests.get(name), advice, depth=depth)


def _set_largest(values: dict[int, int], step: int, value: Any) -> None:
    if value is not None:
        values[step] = max(values.get(step, 0), value)


def _expected_files(row: RunRow, folder: RunFolder) -> frozenset[str]:
    """Return the names of the files that an ended run without digests must have."""
    if row.kind == RunKind.TRAINING:
        return frozenset()
    names = set()
    if row.dataset_digest is None and row.bytes:
        names.add(INPUTS)
    if row.samples_done:
        names |= {CHUNKS, "memory.json", "profile.json"}
        names |= {f"{name}.npy" for name in row.request["outputs"]}
    if row.trace is not None and any(row.trace["recorded"].values()):
        names |= _expected_parts(folder) or {TRACE}
    return frozenset(names)


def _expected_parts(folder: RunFolder) -> set[str]:
    """Return the names of the trace files of chunks, if the trace is in such files."""
    found = set(folder.list_trace_parts())
    if found:
        with suppress(ValueError, KeyError):
            lines = folder.read_chunks()
            with_trace = (line for line in lines if any(line["trace"]["recorded"].values()))
            found |= {name_part(line["first_sample"]) for line in with_trace}
    return found
