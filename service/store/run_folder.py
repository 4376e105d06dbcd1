"""One run's files: inputs, outputs, trace and telemetry in a folder of its own.

While a run is going on its outputs grow as ``NAME.npy.part``, and a line in ``chunks.jsonl`` says
that a chunk of samples is complete. Sealing the folder cuts off what is not, and gives the outputs
their names. After a crash, what the lines say is kept. Finished folders never change.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.trace.formats import HasColumns, merge_parquet, write_parquet
from service.store.atomic_files import (
    NPY_HEADER_BYTES,
    UNFINISHED,
    npy_header,
    sync,
    write_array,
    write_bytes,
    write_file,
)

CHUNKS = "chunks.jsonl"
INPUTS = "inputs.npy"
SAMPLE_KEYS = "sample_keys.npy"
TRACE = "trace.parquet"
"""The trace of a run that has ended."""
TRACE_PARTS = "trace"
"""The folder of a file a chunk, until then."""

_DOOMED_PARTS = "trace.old"

Buffers = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class StoredInputs:
    """The embeddings of a kept run, read from its folder when they are needed."""

    path: Path
    rows: int

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows from ``start`` up to ``stop``.

        Raises:
            FileNotFoundError: the run is gone.
        """
        stored: NDArray[np.float32] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return np.array(stored[start:stop])


class RunFolder:
    """The folder of one run. Written by one thread at a time, read by any number."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(
        self,
        inputs: NDArray[np.float32] | None,
        sample_keys: NDArray[np.int64] | None = None,
        *,
        safe: bool = True,
    ) -> None:
        """Makes the folder with what is needed to run (again).

        Args:
            inputs: the embeddings, unless they are a dataset's.
            safe: wait until all of it is safely on the disk.

        Raises:
            OSError: it could not be written; nothing is left of it.
        """
        try:
            self.path.mkdir(parents=True)
            if inputs is not None:
                write_array(self.path / INPUTS, inputs, sync=safe)
            if sample_keys is not None:
                write_array(self.path / SAMPLE_KEYS, sample_keys, sync=safe)
            if safe:
                sync(self.path)
                sync(self.path.parent)
        except BaseException:
            self.remove()
            raise

    def append(
        self,
        first_sample: int,
        samples: int,
        outputs: Mapping[str, NDArray[Any]],
        trace: Any,
        line: Mapping[str, Any],
        *,
        safe: bool = False,
    ) -> None:
        """Adds a chunk of samples; they come in order.

        Args:
            first_sample: the first one's row in the request.
            samples: how many the whole run has.
            outputs: arrays whose first axis is the chunk's samples.
            trace: anything with ``columns``, or ``None`` where nothing is recorded.
            line: JSON data about the chunk.
            safe: wait until it is safely on the disk, and write the line only then; otherwise that
                is settled for all files together, when the run ends.
        """
        for name, array in outputs.items():
            with self._output(name, unfinished=True).open("ab") as file:
                if file.tell() == 0:
                    file.write(npy_header(array.dtype, (samples, *array.shape[1:])))
                file.write(np.ascontiguousarray(array).data)
                _settle(file, safe)
        if trace is not None and len(trace.columns["seq"]):
            folder = self.path / TRACE_PARTS
            folder.mkdir(exist_ok=True)
            part = folder / f"{first_sample:012d}.parquet"
            write_file(part, lambda file: write_parquet(trace, file), sync=safe)
            if safe:
                sync(folder)
        if safe:
            sync(self.path)
        with (self.path / CHUNKS).open("ab") as file:
            is_first = file.tell() == 0
            file.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            _settle(file, safe)
        if safe and is_first:
            sync(self.path)

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The lines of the complete chunks, in order."""
        for record, _ in self._lines():
            yield record

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """The lines of the complete chunks, and where in the file each ends."""
        try:
            file = (self.path / CHUNKS).open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                # A crash can cut the last line short.
                if not line.endswith(b"\n"):
                    return
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    # A power cut can leave holes in it.
                    if file.read(1):
                        raise
                    return
                yield record, file.tell()

    def samples(self, first: int, count: int) -> list[dict[str, Any]]:
        """What is noted of some samples, from a row on."""
        found: list[dict[str, Any]] = []
        for chunk in self.chunks():
            start = chunk["first_sample"]
            if start + len(chunk["samples"]) > first + len(found):
                found += chunk["samples"][first + len(found) - start :]
            if len(found) >= count:
                break
        return found[:count]

    def seal(self, rows: int, documents: Mapping[str, Any], *, safe: bool = True) -> int:
        """Ends the writing: keeps the first ``rows`` samples, and adds ``NAME.json`` documents.

        Args:
            safe: wait until all of it is safely on the disk.

        Returns:
            bytes that the folder takes.
        """
        for path in sorted(self.path.glob(f"*.npy{UNFINISHED}")):
            _cut(path, rows, safe)
        self._join_trace(rows, safe)
        for name, document in documents.items():
            data = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
            write_bytes(self.path / f"{name}.json", data, sync=False)
        for leftover in self.path.rglob(f"*{UNFINISHED}"):
            leftover.unlink()
        if safe:
            self.make_safe()
        return self.size()

    def make_safe(self) -> None:
        """Waits until all of it is safely on the disk."""
        entries = list(self.path.rglob("*"))
        for path in [entry for entry in entries if entry.is_file()]:
            sync(path)
        for path in [entry for entry in entries if entry.is_dir()]:
            sync(path)
        sync(self.path)
        sync(self.path.parent)

    def sound_chunks(self) -> list[dict[str, Any]]:
        """After a crash: the lines of the chunks whose numbers are really there."""
        sound: list[dict[str, Any]] = []
        rows_held = [_rows_held(path) for path in self.path.glob(f"*.npy{UNFINISHED}")]
        rows = 0
        for line in self.chunks():
            rows += len(line["samples"])
            if any(held < rows for held in rows_held):
                break
            sound.append(line)
        return sound

    def rewind(self) -> list[dict[str, Any]]:
        """After an interruption: drops what is not of a sound chunk, so that a run can go on.

        Returns:
            the lines of the sound chunks.
        """
        sound = self.sound_chunks()
        rows = sum(len(line["samples"]) for line in sound)
        for path in self.path.glob(f"*.npy{UNFINISHED}"):
            if rows == 0:
                path.unlink()
            else:
                shape, dtype = _read_header(path)
                os.truncate(path, NPY_HEADER_BYTES + rows * _row_bytes(shape, dtype))
        for part in (self.path / TRACE_PARTS).glob("*"):
            if part.name.endswith(UNFINISHED) or int(part.stem) >= rows:
                part.unlink()
        ends = [end for _, end in self._lines()]
        if (self.path / CHUNKS).exists():
            os.truncate(self.path / CHUNKS, ends[len(sound) - 1] if sound else 0)
        return sound

    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.stat().st_size for entry in self.path.rglob("*") if entry.is_file())

    def output(self, name: str) -> NDArray[Any]:
        """An output, mapped into memory, not read.

        Raises:
            FileNotFoundError: there is none (any more).
        """
        array: NDArray[Any] = np.load(self.output_path(name), mmap_mode="r", allow_pickle=False)
        return array

    def output_path(self, name: str) -> Path:
        """Where a finished output lies."""
        return self._output(name, unfinished=False)

    @property
    def training(self) -> Path:
        """Where a training keeps its work."""
        return self.path / "training"

    def inputs(self, rows: int) -> StoredInputs:
        """The embeddings that came with the request.

        Args:
            rows: how many they are.
        """
        return StoredInputs(self.path / INPUTS, rows)

    def sample_keys(self) -> NDArray[np.int64] | None:
        """The keys that the caller gave, if any."""
        path = self.path / SAMPLE_KEYS
        keys: NDArray[np.int64] | None = (
            np.load(path, allow_pickle=False) if path.exists() else None
        )
        return keys

    def trace_parts(self, sample_from: int = 0) -> list[Path]:
        """The files of the trace in the order of samples, from the one with ``sample_from`` on."""
        whole, folder = self.path / TRACE, self.path / TRACE_PARTS
        if whole.exists():
            return [whole]
        parts = sorted(folder.glob("*.parquet")) if folder.exists() else []
        starts = [int(part.stem) for part in parts]
        skipped = sum(1 for start in starts[1:] if start <= sample_from)
        return parts[skipped:]

    def document(self, name: str) -> bytes:
        """A JSON document of the run as it lies there.

        Raises:
            FileNotFoundError: there is none.
        """
        return (self.path / f"{name}.json").read_bytes()

    def remove(self) -> None:
        """Removes the folder: first its name, so that nobody sees half of it."""
        doomed = self.path.with_name(f".{self.path.name}{UNFINISHED}")
        try:
            self.path.rename(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)

    def _join_trace(self, rows: int, safe: bool) -> None:
        """Makes one file of the trace's parts, of the first ``rows`` samples."""
        # Where a crash interrupted this, the parts are still there, all of them.
        shutil.rmtree(self.path / _DOOMED_PARTS, ignore_errors=True)
        folder, whole = self.path / TRACE_PARTS, self.path / TRACE
        if not folder.exists():
            return
        # Also, its only part may have got its name already, and then there is none.
        parts = [part for part in sorted(folder.glob("*.parquet")) if int(part.stem) < rows]
        if len(parts) == 1:
            parts[0].replace(whole)
        elif parts:
            write_file(whole, lambda file: merge_parquet(parts, file), sync=safe)
        if safe:
            # The whole is there for good before its parts go.
            sync(self.path)
        folder.rename(self.path / _DOOMED_PARTS)
        shutil.rmtree(self.path / _DOOMED_PARTS)

    def _output(self, name: str, *, unfinished: bool) -> Path:
        return self.path / f"{name}.npy{UNFINISHED if unfinished else ''}"


def _settle(file: IO[bytes], safe: bool) -> None:
    if safe:
        file.flush()
        os.fsync(file.fileno())


def _cut(path: Path, rows: int, safe: bool) -> None:
    """Makes an unfinished output a ``.npy`` file of its first rows."""
    if rows == 0:
        path.unlink()
        return
    with path.open("r+b") as file:
        shape, dtype = _read_header(path)
        file.truncate(NPY_HEADER_BYTES + rows * _row_bytes(shape, dtype))
        file.write(npy_header(dtype, (rows, *shape[1:])))
        _settle(file, safe)
    path.rename(path.with_name(path.name.removesuffix(UNFINISHED)))


def _rows_held(path: Path) -> int:
    size = path.stat().st_size
    if size <= NPY_HEADER_BYTES:
        return 0
    return (size - NPY_HEADER_BYTES) // _row_bytes(*_read_header(path))


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def _row_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize


@dataclass(frozen=True, slots=True)
class WholeRun:
    """The files of a run that ended before any of it was written.

    Most runs that a caller waits for are one chunk, complete within moments. They need no files
    that grow and none that get their names late: a folder without a row in the index does not
    count, and after a crash the next start removes it.

    Attributes:
        inputs: the embeddings, unless they are a dataset's.
        sample_keys: those that the caller gave, if any.
        line: JSON data about the one chunk.
    """

    inputs: NDArray[np.float32] | None
    sample_keys: NDArray[np.int64] | None
    outputs: Mapping[str, NDArray[Any]]
    trace: HasColumns
    line: Mapping[str, Any]

    def write(self, folder: RunFolder, documents: Mapping[str, Any], *, safe: bool = True) -> int:
        """Makes the folder as :meth:`RunFolder.seal` leaves it.

        Args:
            documents: kept as ``NAME.json``.
            safe: wait until all of it is safely on the disk.

        Returns:
            bytes that the folder takes.

        Raises:
            OSError: it could not be written; nothing is left of it.
        """
        path, size = folder.path, 0
        try:
            path.mkdir()
            for name, buffers in self._files(documents):
                with (path / name).open("xb") as file:
                    for buffer in buffers:
                        size += file.write(buffer)
            if safe:
                folder.make_safe()
        except BaseException:
            folder.remove()
            raise
        return size

    def _files(self, documents: Mapping[str, Any]) -> Iterator[tuple[str, Buffers]]:
        if self.inputs is not None:
            yield INPUTS, _npy(self.inputs)
        if self.sample_keys is not None:
            yield SAMPLE_KEYS, _npy(self.sample_keys)
        for name, array in self.outputs.items():
            yield f"{name}.npy", _npy(array)
        if len(self.trace.columns["seq"]):
            written = io.BytesIO()
            write_parquet(self.trace, written)
            yield TRACE, (written.getbuffer(),)
        yield CHUNKS, (_json(self.line), b"\n")
        for name, document in documents.items():
            yield f"{name}.json", (_json(document),)


def _npy(array: NDArray[Any]) -> Buffers:
    return npy_header(array.dtype, array.shape), np.ascontiguousarray(array).data


def _json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
