"""The canonical file of a dataset: ``.safetensors`` with float32 ``inputs`` and maybe ``targets``.

The header has a fixed length and a fixed form, so that the same numbers always make the same file,
byte for byte, whatever they came in; the file's SHA-256 is the dataset's digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.problems import Problem
from service.safetensors_header import make_header
from service.store.atomic_files import UnfinishedFile

HEADER_BYTES = 512
FLOAT32_BYTES = 4

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """Numbers of a dataset, whatever it is called.

    Attributes:
        digest: SHA-256 of the canonical file, in hexadecimal.
        rows, dim: shape of the inputs. targets_dim: numbers in a row of targets; none without them.
        bytes: of the canonical file.
    """

    digest: str
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """Consecutive rows of a dataset's inputs, read from its file when they are needed.

    Attributes:
        digest: of the whole dataset.
        first: the first row's index in the dataset; :meth:`read` counts from there.
        rows: how many they are. dim: numbers in each.
    """

    path: Path
    digest: str
    first: int
    rows: int
    dim: int

    def part(self, start: int, stop: int) -> DatasetRows:
        """Those from ``start`` up to ``stop``."""
        return replace(self, first=self.first + start, rows=stop - start)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows from ``start`` up to ``stop``, [stop − start, dim].

        Raises:
            FileNotFoundError: the dataset is gone.
        """
        offset = HEADER_BYTES + (self.first + start) * self.dim * FLOAT32_BYTES
        shape = (stop - start, self.dim)
        return np.array(np.memmap(self.path, np.dtype("<f4"), "r", offset, shape), np.float32)


class DatasetWriter:
    """Writes a canonical file, some rows at a time, as they come. To be closed in any case.

    Args:
        folder: where the file will be.
        most_bytes: of the file.

    Raises:
        OSError: there is no room.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._files: dict[str, UnfinishedFile] = {}
        self._spools: list[UnfinishedFile] = []
        self._shapes: dict[str, tuple[int, int]] = {}
        self._bytes = HEADER_BYTES

    def add(self, name: str, rows: NDArray[np.float32]) -> None:
        """Adds rows to ``inputs`` or ``targets``.

        Args:
            rows: [n, dim], of one dim for each name.

        Raises:
            Problem: 413, the file would be larger than it may.
            OSError: it could not be written.
        """
        self._bytes += rows.nbytes
        self._check_size(self._bytes)
        if name not in self._files:
            self._files[name] = UnfinishedFile(self._folder)
            if name == "inputs":
                self._files[name].file.write(bytes(HEADER_BYTES))
        held, _ = self._shapes.get(name, (0, 0))
        self._shapes[name] = (held + len(rows), rows.shape[1])
        self._files[name].file.write(np.ascontiguousarray(rows, np.dtype("<f4")).data)

    def expect(self, numbers: int) -> None:
        """Checks that so many numbers in all are not too many, before they come.

        Raises:
            Problem: 413.
        """
        self._check_size(HEADER_BYTES + numbers * FLOAT32_BYTES)

    def spool(self) -> UnfinishedFile:
        """A further file beside, for a reader's own use; it is removed with the rest.

        Raises:
            OSError: there is no room.
        """
        spool = UnfinishedFile(self._folder)
        self._spools.append(spool)
        return spool

    def seal(self) -> DatasetContent:
        """Ends the writing; the file is safely on the disk, and still has no name.

        Raises:
            OSError: it could not be written.
        """
        rows, dim = self._shapes["inputs"]
        targets_dim = self._shapes["targets"][1] if "targets" in self._shapes else None
        file = self._files["inputs"].file
        if targets_dim is not None:
            targets = self._files["targets"].file
            targets.seek(0)
            shutil.copyfileobj(targets, file, _PIECE_BYTES)
        file.seek(0)
        file.write(_header(rows, dim, targets_dim))
        # Now, while nobody waits for it.
        self._files["inputs"].make_safe()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return DatasetContent(digest, rows, dim, targets_dim, self._bytes)

    def place(self, path: Path) -> None:
        """Gives the sealed file its name.

        Raises:
            OSError: it could not be written.
        """
        self._files["inputs"].place(path)

    def close(self) -> None:
        """Removes what has no name."""
        with contextlib.ExitStack() as files:
            for file in (*self._files.values(), *self._spools):
                files.callback(file.close)

    def _check_size(self, needed: int) -> None:
        if needed > self._most_bytes:
            raise Problem(
                413,
                f"the dataset takes {needed:,} bytes as float32, and may take {self._most_bytes:,}",
                extra={"needed_bytes": needed, "limit_bytes": self._most_bytes},
            )


def _header(rows: int, dim: int, targets_dim: int | None) -> bytes:
    widths = (("inputs", dim), ("targets", targets_dim))
    tensors = {name: ("F32", (rows, width)) for name, width in widths if width is not None}
    return make_header(tensors, HEADER_BYTES)
