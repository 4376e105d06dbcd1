"""A file of the data directory whose pieces are verified when they are read."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from service.problems import DamagedFile, find_unusable_path
from service.store.verification.piece_digests import PIECE_BYTES, READ_BYTES, PieceDigests

# What the system reports of a file that is lost or cannot be read, rather than of the process.
_DAMAGES = frozenset((errno.EIO, errno.EISDIR))


class VerifiedFile:
    """A complete file that does not change.

    Attributes:
        path: Its path.
        name: Its path in the data directory, for messages.

    Args:
        path: Its path.
        digests: Digests of its pieces; ``None`` if they are not known, so that only what the
            system reports is found.
        advice: What a caller can do if it is damaged.
    """

    def __init__(
        self, path: Path, digests: PieceDigests | None, advice: str, *, depth: int
    ) -> None:
        self.path = path
        self.name = "/".join(path.parts[-depth:])
        self._digests = digests
        self._advice = advice

    @property
    def has_digests(self) -> bool:
        """Whether changes of its bytes are found."""
        return self._digests is not None

    def read(self, start: int, stop: int) -> memoryview:
        """Return verified bytes.

        Args:
            start: Offset of the first byte.
            stop: Offset behind the last one.

        Raises:
            DamagedFile: They have changed, or cannot be read.
        """
        with self._open() as file:
            return self._read(file, start, stop)

    def check(self, start: int = 0, stop: int | None = None) -> None:
        """Verify bytes, of which only some are in memory at once.

        Args:
            start: Offset of the first byte.
            stop: Offset behind the last one; by default the end of the file.

        Raises:
            DamagedFile: They have changed, or cannot be read.
        """
        with self._open() as file:
            end = os.fstat(file.fileno()).st_size if stop is None else stop
            for first in range(start - start % PIECE_BYTES, end, READ_BYTES):
                self._read(file, first, min(first + READ_BYTES, end))

    def read_parts(self, start: int, stop: int, size: int) -> Iterator[memoryview]:
        """Yield verified bytes in parts; the file is open until the last one.

        Args:
            start: Offset of the first byte.
            stop: Offset behind the last one.
            size: Bytes of a part; the last one can be shorter.

        Raises:
            DamagedFile: They have changed, or cannot be read.
        """
        with self._open() as file:
            for first in range(start, stop, size):
                yield self._read(file, first, min(first + size, stop))

    def open(self) -> IO[bytes]:
        """Open the file; every part is verified when it is read.

        Raises:
            DamagedFile: It cannot be opened, or has another size.
        """
        with self.explaining():
            file = self.path.open("rb", buffering=0)
        if self._digests is None:
            return io.BufferedReader(file, PIECE_BYTES)
        try:
            self._check_size(file)
        except BaseException:
            file.close()
            raise
        return io.BufferedReader(_Reader(self, file, self._digests.size), PIECE_BYTES)

    def damage(self, why: str) -> DamagedFile:
        """Return the refusal of a request that needs the file.

        Args:
            why: What is wrong with it.
        """
        return DamagedFile(self.name, why, self._advice)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise a refusal for errors of the system within a block.

        Raises:
            DamagedFile: The file is lost, or the disk cannot read it.
            UnusablePath: The system does not let the process read it.
        """
        try:
            yield
        except OSError as error:
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            if not is_missing and error.errno not in _DAMAGES:
                unusable = find_unusable_path(error)
                if unusable is None:
                    raise
                raise unusable from error
            why = "it does not exist" if is_missing else f"it cannot be read: {error.strerror}"
            raise self.damage(why) from error

    @contextmanager
    def _open(self) -> Iterator[io.FileIO]:
        with self.explaining(), self.path.open("rb", buffering=0) as file:
            self._check_size(file)
            yield file

    def _check_size(self, file: io.FileIO) -> None:
        size = os.fstat(file.fileno()).st_size
        if self._digests is not None and size != self._digests.size:
            raise self.damage(f"it has {size:,} bytes instead of {self._digests.size:,}")

    def _read(self, file: io.FileIO, start: int, stop: int) -> memoryview:
        """Return verified bytes of the open file."""
        first, last = start, stop
        if self._digests is not None:
            first -= start % PIECE_BYTES
            last = min(-(-stop // PIECE_BYTES) * PIECE_BYTES, self._digests.size)
        data = memoryview(bytearray(max(last - first, 0)))
        held = 0
        with self.explaining():
            while count := os.preadv(file.fileno(), [data[held:]], first + held):
                held += count
        if held < stop - first:
            raise self.damage(f"it ends after {first + held:,} bytes")
        changed = None if self._digests is None else self._digests.find_changed(first, data)
        if changed is not None:
            raise self.damage(
                f"bytes {changed} to {min(changed + PIECE_BYTES, last) - 1} have changed"
            )
        return data[start - first : stop - first]


class _Reader(io.RawIOBase):
    """The open file as a stream.

    The last bytes that were verified are kept: readers take many small parts of the same piece.
    """

    def __init__(self, source: VerifiedFile, file: io.FileIO, size: int) -> None:
        self._source = source
        self._file = file
        self._size = size
        self._position = 0
        self._held = memoryview(b"")
        self._first = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        stop = min(self._position + len(target), self._size)
        if stop <= self._position:
            return 0
        if not self._first <= self._position <= stop <= self._first + len(self._held):
            self._first = self._position - self._position % PIECE_BYTES
            end = min(-(-stop // PIECE_BYTES) * PIECE_BYTES, self._size)
            self._held = self._source._read(self._file, self._first, end)
        part = self._held[self._position - self._first : stop - self._first]
        target[: len(part)] = part
        self._position = stop
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()
