"""The file of a dataset: ``.safetensors`` with float32 ``inputs`` and optional ``targets``.

The header has a fixed length and form, so that the same numbers make the same file, byte for byte,
whatever format they arrive in. The SHA-256 of the file is the dataset's digest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.problems import Problem
from service.safetensors_header import make_header
from service.store.atomic_files import UnfinishedFile
from service.store.verification.piece_digests import PieceDigests, digest_whole

if TYPE_CHECKING:
    # A process that only writes rows has no index.
    from service.store.verification.dataset_digests import DatasetDigests
    from service.store.verification.verified_file import VerifiedFile

HEADER_BYTES = 512
FLOAT32_BYTES = 4
PARTS = ("inputs", "targets")

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """The numbers of a dataset.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal.
        rows: Number of rows.
        dim: Numbers in a row of inputs.
        targets_dim: Numbers in a row of targets; ``None`` if there are no targets.
        bytes: Size of the file.
    """

    digest: str
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class SealedDataset:
    """A dataset whose file is complete.

    Attributes:
        content: Its numbers.
        pieces: Digests of the pieces of the file.
    """

    content: DatasetContent
    pieces: PieceDigests


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """Consecutive rows of a dataset's inputs, read from its file when they are needed.

    Attributes:
        files: Files of all datasets.
        digest: Digest of the whole dataset.
        first: Index of the first row in the dataset; :meth:`read` counts from there.
        rows: Number of rows.
        dim: Numbers in a row.
    """

    files: DatasetDigests
    digest: str
    first: int
    rows: int
    dim: int

    def part(self, start: int, stop: int) -> DatasetRows:
        """Return the rows from ``start`` up to ``stop``."""
        return replace(self, first=self.first + start, rows=stop - start)

    def verified_file(self) -> VerifiedFile:
        """Return the dataset's file, all of which has been verified.

        Raises:
            DamagedFile: The file is damaged, or lost.
        """
        file = self.files.file(self.digest)
        file.check()
        return file

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return some rows, float32 [stop - start, dim].

        Args:
            start: First row.
            stop: Row behind the last one.

        Raises:
            DamagedFile: The file of the dataset is damaged there, or lost.
        """
        row_bytes = self.dim * FLOAT32_BYTES
        first = HEADER_BYTES + (self.first + start) * row_bytes
        data = self.files.file(self.digest).read(first, first + (stop - start) * row_bytes)
        return (
            np.frombuffer(data, np.dtype("<f4"))
            .astype(np.float32, copy=False)
            .reshape(-1, self.dim)
        )


class DatasetShape:
    """The shapes of a dataset's parts while it is written, and the limit of its size.

    Attributes:
        parts: Rows and numbers in a row, by the name of the part: ``inputs``, ``targets``.
        bytes: Size of the file so far.

    Args:
        max_bytes: Most bytes of the file.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.parts: dict[str, tuple[int, int]] = {}
        self.bytes = HEADER_BYTES

    def add(self, name: str, rows: int, dim: int) -> None:
        """Count rows that are added.

        Args:
            name: Name of the part.
            rows: Number of rows.
            dim: Numbers in a row, the same at each call for a part.

        Raises:
            Problem: 413, the file would be too large.
        """
        self.bytes += rows * dim * FLOAT32_BYTES
        self._check(self.bytes)
        held, _ = self.parts.get(name, (0, 0))
        self.parts[name] = (held + rows, dim)

    def expect(self, numbers: int) -> None:
        """Check the size of the file before its rows arrive.

        Args:
            numbers: Numbers of all inputs and targets.

        Raises:
            Problem: 413, the file would be too large.
        """
        self._check(HEADER_BYTES + numbers * FLOAT32_BYTES)

    def _check(self, needed: int) -> None:
        if needed > self._max_bytes:
            raise Problem(
                413,
                f"the dataset takes {needed:,} bytes as float32; the limit is "
                f"{self._max_bytes:,} bytes",
                extra={"needed_bytes": needed, "limit_bytes": self._max_bytes},
            )


class DatasetWriter:
    """A writer of the file of one dataset, some rows at a time.

    Its owner must call :meth:`close`.

    Attributes:
        max_bytes: Most bytes of the file.

    Args:
        folder: Folder that will hold the file.
        max_bytes: Most bytes of the file.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._files: dict[str, UnfinishedFile] = {}
        self._spools: list[UnfinishedFile] = []
        self._shape = DatasetShape(max_bytes)

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            name: ``inputs`` or ``targets``.
            rows: Numbers [n, dim], with the same dim at each call for a name.

        Raises:
            Problem: 413, the file would be too large.
            OSError: The rows could not be written.
        """
        self._shape.add(name, *rows.shape)
        _write(self._file(name).file, rows)

    def expect(self, numbers: int) -> None:
        """Check the size of the file before its rows arrive, as :meth:`DatasetShape.expect`."""
        self._shape.expect(numbers)

    def reserve(self) -> dict[str, Path]:
        """Return a file for each part, to which another process appends its rows as float32.

        Raises:
            OSError: A file cannot be created.
        """
        for name in PARTS:
            self._file(name).file.flush()
        return {name: self._files[name].path for name in PARTS}

    def adopt(self, name: str, rows: int, dim: int) -> None:
        """Add the rows that another process has appended to a reserved file.

        Args:
            name: Name of the part.
            rows: Number of rows.
            dim: Numbers in a row.

        Raises:
            Problem: 413, the file would be too large.
            OSError: The file has another size.
        """
        file = self._files[name].file
        expected = file.tell() + rows * dim * FLOAT32_BYTES
        held = file.seek(0, os.SEEK_END)
        if held != expected:
            raise OSError(f"the file of the {name} has {held:,} bytes, not {expected:,}")
        self._shape.add(name, rows, dim)

    def spool(self) -> UnfinishedFile:
        """Return a temporary file, which :meth:`close` removes.

        Raises:
            OSError: The file cannot be created.
        """
        spool = UnfinishedFile(self._folder)
        self._spools.append(spool)
        return spool

    def seal(self) -> SealedDataset:
        """Complete the file and wait until it is on the disk, still without a name.

        Raises:
            OSError: The file could not be written.
        """
        parts = self._shape.parts
        rows, dim = parts["inputs"]
        targets_dim = parts["targets"][1] if "targets" in parts else None
        file = self._files["inputs"].file
        if targets_dim is not None:
            targets = self._files["targets"].file
            targets.seek(0)
            shutil.copyfileobj(targets, file, _PIECE_BYTES)
        file.seek(0)
        file.write(_header(rows, dim, targets_dim))
        # Here no lock is held.
        self._files["inputs"].fsync()
        file.seek(0)
        digest, pieces = digest_whole(file)
        content = DatasetContent(digest, rows, dim, targets_dim, self._shape.bytes)
        return SealedDataset(content, pieces)

    def place(self, path: Path) -> None:
        """Give the sealed file its name.

        Args:
            path: New path, in the same folder.

        Raises:
            OSError: The file could not be written.
        """
        self._files["inputs"].place(path)

    def close(self) -> None:
        """Remove all files without a name."""
        with contextlib.ExitStack() as files:
            for file in (*self._files.values(), *self._spools):
                files.callback(file.close)

    def _file(self, name: str) -> UnfinishedFile:
        if name not in self._files:
            self._files[name] = UnfinishedFile(self._folder)
            if name == "inputs":
                self._files[name].file.write(bytes(HEADER_BYTES))
        return self._files[name]


class PartFiles:
    """A writer of rows to the files that a :class:`DatasetWriter` of another process has reserved.

    Its owner must call :meth:`close`.

    Attributes:
        shape: Shapes of the parts.

    Args:
        paths: The file of each part.
        max_bytes: Most bytes of the file of the dataset.

    Raises:
        OSError: A file cannot be opened.
    """

    def __init__(self, paths: Mapping[str, Path], max_bytes: int) -> None:
        self.shape = DatasetShape(max_bytes)
        with contextlib.ExitStack() as files:
            self._files = {name: files.enter_context(paths[name].open("ab")) for name in paths}
            self._closing = files.pop_all()

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Add rows, as :meth:`DatasetWriter.add`."""
        self.shape.add(name, *rows.shape)
        _write(self._files[name], rows)

    def expect(self, numbers: int) -> None:
        """Check the size of the file before its rows arrive, as :meth:`DatasetShape.expect`."""
        self.shape.expect(numbers)

    def close(self) -> None:
        """Write the rest of the rows, and close the files.

        Raises:
            OSError: The rows could not be written.
        """
        self._closing.close()


def _write(file: IO[bytes], rows: NDArray[np.float32]) -> None:
    file.write(np.ascontiguousarray(rows, np.dtype("<f4")).data)


def _header(rows: int, dim: int, targets_dim: int | None) -> bytes:
    widths = (("inputs", dim), ("targets", targets_dim))
    tensors = {name: ("F32", (rows, width)) for name, width in widths if width is not None}
    return make_header(tensors, HEADER_BYTES)
