"""One run's files: inputs, outputs, trace and telemetry in a folder of its own.

While a run is active its outputs grow as ``NAME.npy.part``, and a line in ``chunks.jsonl`` records
each complete chunk of samples. Sealing the folder drops incomplete chunks and gives the outputs
their names. After a crash the recorded chunks are kept. A sealed folder never changes.

A run whose results are all there before it has a folder is written at once instead. A folder is
made under another name and renamed, so that one with its name has all that it was created with.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.trace.formats.parquet import write_parquet
from energy_flow.trace.records import HasColumns
from service.json_encoding import to_json
from service.problems import UnusablePath
from service.store.atomic_files import UNFINISHED, fsync, write_bytes
from service.store.chunk_log import ChunkLog
from service.store.descriptions.run import DESCRIPTION
from service.store.folders import check_removable, make_again, remove_tree
from service.store.npy_file import GrowingArray, RowLayout, npy_buffers, write_array
from service.store.trace_parts import TRACE, TraceParts
from service.store.verification.piece_digests import PieceDigests, PieceHasher, digest_pieces

log = logging.getLogger(__name__)

CHUNKS = "chunks.jsonl"
INPUTS = "inputs.npy"
SAMPLE_KEYS = "sample_keys.npy"

TRAINING = "training"
TRAINING_EVENTS = f"{TRAINING}/events.jsonl"
"""The only file of a training that is kept once it has ended, besides curves for other tools."""


@dataclass(frozen=True, slots=True)
class WholeRun:
    """All results of a run that ended before any of its files was written.

    Most runs with a waiting caller are one chunk and end within moments.

    Attributes:
        inputs: Embeddings [samples, dim]; ``None`` if they are rows of a dataset.
        sample_keys: Keys [samples] that the caller gave, if any.
        outputs: Arrays by name, of shape [samples, ...].
        trace: Records of the run.
        line: JSON data about its only chunk.
    """

    inputs: NDArray[np.float32] | None
    sample_keys: NDArray[np.int64] | None
    outputs: Mapping[str, NDArray[Any]]
    trace: HasColumns
    line: Mapping[str, Any]

    def files(
        self, documents: Mapping[str, Any]
    ) -> Iterator[tuple[str, tuple[bytes | memoryview, ...]]]:
        """Yield the name and the content of each file of the run's folder.

        Args:
            documents: JSON data by name, stored as ``NAME.json``.
        """
        if self.inputs is not None:
            yield INPUTS, npy_buffers(self.inputs)
        if self.sample_keys is not None:
            yield SAMPLE_KEYS, npy_buffers(self.sample_keys)
        for name, array in self.outputs.items():
            yield f"{name}.npy", npy_buffers(array)
        if len(self.trace.columns["seq"]):
            written = io.BytesIO()
            write_parquet(self.trace, written)
            yield TRACE, (written.getbuffer(),)
        yield CHUNKS, (to_json(self.line), b"\n")
        for name, document in documents.items():
            yield f"{name}.json", (to_json(document),)


class RunFolder:
    """The folder of one run, written by one thread at a time and read by any number.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._chunks = ChunkLog(path / CHUNKS)
        self._trace = TraceParts(path)

    def create(
        self,
        inputs: NDArray[np.float32] | None,
        sample_keys: NDArray[np.int64] | None = None,
        *,
        description: bytes | None = None,
        durable: bool = True,
    ) -> dict[str, PieceDigests]:
        """Create the folder with the inputs of the run.

        Args:
            inputs: Embeddings [samples, dim]; ``None`` if they are rows of a dataset.
            sample_keys: Keys [samples] that the caller gave, if any.
            description: Description of the run as it is now, if it has a row.
            durable: Whether to wait until all files are on the disk.

        Returns:
            The digests of the files by name.

        Raises:
            Problem: 503, the data directory is gone.
            OSError: The folder could not be written; nothing is left of it.
        """
        digests: dict[str, PieceDigests] = {}
        with self._new_folder() as folder:
            for name, array in ((INPUTS, inputs), (SAMPLE_KEYS, sample_keys)):
                if array is not None:
                    write_array(folder / name, array, durable=durable)
                    digests[name] = _digest(npy_buffers(array))
            if description is not None:
                write_bytes(folder / DESCRIPTION, description, durable=durable)
            if durable:
                fsync(folder)
        if durable:
            fsync(self.path.parent)
        return digests

    def append(
        self,
        first_sample: int,
        samples: int,
        outputs: Mapping[str, NDArray[Any]],
        trace: HasColumns | None,
        line: Mapping[str, Any],
        *,
        durable: bool = False,
    ) -> None:
        """Append a chunk of samples; chunks come in order.

        Args:
            first_sample: Row of the chunk's first sample in the run.
            samples: Number of samples of the whole run.
            outputs: Arrays by name, of shape [samples of the chunk, ...].
            trace: Records of the chunk; ``None`` where nothing is recorded.
            line: JSON data about the chunk.
            durable: Whether to write the line only once everything else is on the disk, and to
                wait for the line. Without it, :meth:`UnfinishedRun.seal` waits for all files.

        Raises:
            UnusablePath: The folder was removed.
            OSError: The chunk could not be written.
        """
        with self.noticing_loss():
            for name, array in outputs.items():
                layout = RowLayout(array.shape[1:], array.dtype)
                growing = GrowingArray(self.output_path(name), layout)
                growing.append(array, samples, durable=durable)
            if trace is not None:
                self._trace.append(first_sample, trace, durable=durable)
            if durable:
                fsync(self.path)
            is_new = self._chunks.append(line, durable=durable)
            if durable and is_new:
                fsync(self.path)

    def write(
        self,
        run: WholeRun,
        documents: Mapping[str, Any],
        description: bytes | None = None,
        *,
        durable: bool = True,
    ) -> dict[str, PieceDigests]:
        """Write a folder that does not exist yet, as :meth:`UnfinishedRun.seal` leaves one.

        Args:
            run: All results.
            documents: JSON data by name, stored as ``NAME.json``.
            description: Description of the run, if it has a row.
            durable: Whether to wait until all files are on the disk.

        Returns:
            The digests of all files by name, but of the description, which is written again.

        Raises:
            Problem: 503, the data directory is gone.
            OSError: The folder could not be written; nothing is left of it.
        """
        digests: dict[str, PieceDigests] = {}
        with self._new_folder() as folder:
            for name, buffers in run.files(documents):
                with (folder / name).open("xb") as file:
                    file.writelines(buffers)
                digests[name] = _digest(buffers)
            if description is not None:
                (folder / DESCRIPTION).write_bytes(description)
        if durable:
            self.fsync()
        return digests

    def read_chunks(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the complete chunks, in order.

        Raises:
            DamagedLine: A line is damaged.
        """
        return self._chunks.read()

    def digest_files(self) -> dict[str, PieceDigests]:
        """Return the digests of the files of a sealed folder by name.

        What only an unfinished training needs is left out, and the description, which is written
        again.

        Raises:
            OSError: A file cannot be read.
        """
        entries = (entry for entry in self.path.iterdir() if entry.is_file())
        names = [entry.name for entry in entries if entry.name != DESCRIPTION]
        if (self.path / TRAINING_EVENTS).exists():
            names.append(TRAINING_EVENTS)
        if not (self.path / TRACE).exists():
            names += self.list_trace_parts()
        digests: dict[str, PieceDigests] = {}
        for name in names:
            with (self.path / name).open("rb", buffering=0) as file:
                digests[name] = digest_pieces(file)
        return digests

    def fsync(self) -> None:
        """Wait until all files are on the disk.

        Raises:
            FileNotFoundError: The folder was removed.
        """
        entries = list(self.path.rglob("*"))
        for path in [entry for entry in entries if entry.is_file()]:
            fsync(path)
        for path in [entry for entry in entries if entry.is_dir()]:
            fsync(path)
        fsync(self.path)
        fsync(self.path.parent)

    def size(self) -> int:
        """Return the bytes of all files but the description, which follows from the row.

        Raises:
            OSError: A folder cannot be read.
        """
        # Path.rglob leaves out what it may not read, which would look like a lost file.
        found = os.walk(self.path, onerror=_raise_unless_missing)
        files = (Path(folder) / name for folder, _, names in found for name in names)
        described = self.path / DESCRIPTION
        return sum(path.stat().st_size for path in files if path != described)

    def output_path(self, name: str) -> Path:
        """Return the path of a finished output."""
        return self.path / f"{name}.npy"

    @property
    def training(self) -> Path:
        """Folder in which a training keeps its snapshots and curves."""
        return self.path / TRAINING

    def list_trace_parts(self) -> list[str]:
        """Return the names of the trace files of chunks."""
        return self._trace.list_names()

    def trace_parts(self, sample_from: int = 0) -> list[Path]:
        """Return the trace files in the order of samples.

        Args:
            sample_from: Leave out files that end before this sample.
        """
        return self._trace.find(sample_from)

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """Make a folder that gets the name of this one at the end of the block."""
        unfinished = self.path.with_name(f".{self.path.name}-new{UNFINISHED}")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_again(unfinished.parent)
        try:
            unfinished.mkdir()
            yield unfinished
            unfinished.rename(self.path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    @contextmanager
    def noticing_loss(self) -> Iterator[None]:
        """Write files of the folder within a block, and notice that it was removed.

        Raises:
            UnusablePath: The folder was removed.
        """
        try:
            yield
        except FileNotFoundError as error:
            if self.path.exists():
                raise
            why = "it was removed while its run was active"
            raise UnusablePath(self.path, why, "repeat the run") from error

    def check_removable(self) -> None:
        """Refuse to remove the folder if the system would not let this process remove all of it.

        Raises:
            OSError: It cannot be removed.
        """
        check_removable(self.path)

    def remove(self) -> None:
        """Remove the folder; neither readers nor a power cut see half of it."""
        remove_folders([self])

    def hide(self) -> Path | None:
        """Give the folder a name under which it is no run, and return its path; none if lost."""
        hidden = self.path.with_name(f".{self.path.name}{UNFINISHED}")
        try:
            return self.path.rename(hidden)
        except FileNotFoundError:
            return None
        except OSError:
            # On a full disk, there may be no room for a longer name.
            return self.path


def remove_folders(folders: Iterable[RunFolder]) -> None:
    """Remove the folders of runs, as :meth:`RunFolder.remove`.

    Args:
        folders: Folders of one archive.
    """
    hidden = [path for folder in folders if (path := folder.hide()) is not None]
    if not hidden:
        return
    # After a power cut, a start removes what has such a name, and takes nothing else for a run.
    fsync(hidden[0].parent)
    for path in hidden:
        kept = remove_tree(path)
        if kept is not None:
            log.warning("files of a removed run stay until the next start: %s", kept)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _digest(buffers: Iterable[bytes | memoryview]) -> PieceDigests:
    hasher = PieceHasher()
    for buffer in buffers:
        hasher.update(buffer)
    return hasher.finish()
