"""What is stored of one run, verified when it is read.

Of a run that has ended, the index knows which files there are, and the digests of their pieces; it
has no digest of a file that was damaged or lost before the end. An active run has chunks so far,
whose files still grow. Runs of earlier versions and of a rebuilt index have no digests: of their
files, only damage is found that makes them unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.choices import RunKind
from energy_flow.trace.formats import StepCounter
from energy_flow.training.store import TrainingFolder
from service.problems import DamagedFile, UnusablePath
from service.store.chunk_log import DamagedLine, parse_lines
from service.store.npy_file import RowLayout, StoredArray
from service.store.run_folder import CHUNKS, INPUTS, SAMPLE_KEYS, TRAINING_EVENTS, RunFolder
from service.store.run_layouts import SAMPLE_KEY, find_input_layout, find_output_layouts
from service.store.stored_forms import check_document
from service.store.stored_trace import StoredTrace
from service.store.tables import RunRow
from service.store.trace_parts import TRACE, name_part
from service.store.unfinished_run import UnfinishedRun
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
        layout: What an embedding must be.
    """

    file: VerifiedFile
    rows: int
    layout: RowLayout

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return some embeddings, float32 [stop - start, dim].

        Args:
            start: First row.
            stop: Row behind the last one.

        Raises:
            DamagedFile: The file is damaged there, or lost.
        """
        array = StoredArray(self.file)
        if not self.file.has_digests:
            array.check_layout(self.layout, self.rows)
        return array.read(start, stop)


class StoredRun:
    """The files of one run, for reading.

    Args:
        folder: Folder of the run.
        row: Row of the run.
        digests: Digests of its files by name, as far as they are known.

    Attributes:
        has_digests: Whether changes of its files are found.
        trace: Its trace.
    """

    def __init__(self, folder: RunFolder, row: RunRow, digests: FileDigests | None) -> None:
        self.has_digests = digests is not None
        self._folder = folder
        self._digests = digests or {}
        self._row = row
        self._files: frozenset[str] | None = None
        if row.is_complete:
            self._files = _expected_files(row, folder) if digests is None else frozenset(digests)
        self.trace = StoredTrace(folder, row.samples, self._files, self._file, self._count_records)

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
        if self._files is None:
            yield from self._find_unfinished_damages()
        if self._row.kind == RunKind.TRAINING:
            # What is kept of one that was not completed has digests of its own.
            for damage in TrainingFolder(self._folder.training).find_damages():
                name = damage.path.relative_to(self._folder.path).as_posix()
                yield self._file(name, damage.advice).damage(damage.why)

    def _find_unfinished_damages(self) -> Iterator[DamagedFile | UnusablePath]:
        """Yield what is wrong with the files of a run that has not ended."""
        chunks: list[dict[str, Any]] = []
        try:
            chunks.extend(self.read_chunks())
        except (DamagedFile, UnusablePath) as problem:
            yield problem
        unfinished = UnfinishedRun(self._folder, find_output_layouts(self._row))
        yield from unfinished.find_damages(chunks)
        for file in self.trace.files():
            try:
                for _ in self.trace.read([file]):
                    pass
            except FileNotFoundError:
                # A run that ends has one file instead.
                continue
            except (DamagedFile, UnusablePath) as problem:
                yield problem
        try:
            if self._file(TRAINING_EVENTS).path.exists():
                self.read_curves(1)
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
        array = StoredArray(self._file(f"{name}.npy"))
        if not array.file.has_digests:
            # Read by a header that has changed, the same bytes are other numbers.
            array.check_layout(find_output_layouts(self._row)[name], self._row.samples_done)
        return array

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
        if not file.has_digests:
            try:
                check_document(name, orjson.loads(data))
            except orjson.JSONDecodeError as error:
                raise file.damage(f"it is no JSON: {error}") from error
            except ValueError as error:
                raise file.damage(f"it is no {name} of a run: {error}") from error
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
        samples, done = 0, None if self._files is None else self._row.samples_done
        if done == 0:
            return
        try:
            with file.open() as opened:
                for line, _ in parse_lines(opened):
                    yield line
                    samples += len(line["samples"])
                    if samples == done:
                        # Of an interrupted run, lines of samples that were dropped can follow.
                        return
        except DamagedLine as error:
            raise file.damage(str(error)) from error
        if done is not None and samples != done:
            raise file.damage(f"it has {samples:,} samples instead of {done:,}")

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
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise file.damage(f"it has a line that is no event: {error}") from error

    def has_inputs(self) -> bool:
        """Return whether a run that has ended has embeddings that came with the request."""
        return self._has(INPUTS)

    def inputs(self) -> StoredInputs:
        """Return the embeddings that came with the request."""
        return StoredInputs(self._file(INPUTS), self._row.samples, find_input_layout(self._row))

    def sample_keys(self) -> NDArray[np.int64] | None:
        """Return the sample keys that came with the request, if any.

        Raises:
            DamagedFile: The file is damaged.
        """
        file = self._file(SAMPLE_KEYS)
        if not file.has_digests and not file.path.exists():
            return None
        return self._check_keys(StoredArray(file)).read(0, self._row.samples)

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

    def _parse(self, file: VerifiedFile) -> None:
        """Read a file without digests as a request would.

        Raises:
            DamagedFile: It cannot be read.
        """
        name = file.path.name
        if file.path.suffix == ".parquet":
            for _ in self.trace.read([file]):
                pass
        elif name == CHUNKS:
            for _ in self.read_chunks():
                pass
        elif name == INPUTS:
            self.inputs().read(0, 0)
        elif name == SAMPLE_KEYS:
            self._check_keys(StoredArray(file))
        elif file.path.suffix == ".json":
            self.document(file.path.stem)
        elif file.path.suffix == ".npy":
            self.output(file.path.stem)

    def _check_keys(self, array: StoredArray) -> StoredArray:
        if not array.file.has_digests:
            array.check_layout(SAMPLE_KEY, self._row.samples)
        return array

    def _count_records(self, name: str) -> int | None:
        """Return the number of records that a trace file must have, if it is known."""
        if name == TRACE:
            return None if self._row.trace is None else sum(self._row.trace["recorded"].values())
        for line in self.read_chunks():
            if name_part(line["first_sample"]) == name:
                return int(sum(line["trace"]["recorded"].values()))
        return None

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
    if (folder.path / SAMPLE_KEYS).exists():
        # Nothing shows whether one is lost.
        names.add(SAMPLE_KEYS)
    if row.samples_done:
        names |= {CHUNKS, "memory.json", "profile.json"}
        names |= {f"{name}.npy" for name in row.request["outputs"]}
    if row.trace is not None and any(row.trace["recorded"].values()):
        names |= _expected_parts(folder, row.samples_done) or {TRACE}
    return frozenset(names)


def _expected_parts(folder: RunFolder, samples: int) -> set[str]:
    """Return the names of the trace files of chunks, if the trace is in such files."""
    found = set(folder.list_trace_parts())
    if found:
        with suppress(DamagedLine):
            lines = takewhile(lambda line: line["first_sample"] < samples, folder.read_chunks())
            with_trace = (line for line in lines if any(line["trace"]["recorded"].values()))
            found |= {name_part(line["first_sample"]) for line in with_trace}
    return found
