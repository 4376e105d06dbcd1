"""Digests of the pieces of a file, so that a part of it can be verified by itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import orjson

PIECE_BYTES = 2**16
"""Bytes of a piece; the last one of a file can be shorter. Stored digests depend on it."""

DIGEST_BYTES = hashlib.sha256().digest_size

READ_BYTES = 16 * PIECE_BYTES
"""Bytes of a file that are in memory at once."""


@dataclass(frozen=True, slots=True)
class PieceDigests:
    """The SHA-256 of each piece of a file.

    Attributes:
        size: Size of the file in bytes.
        digests: Digests of the pieces, one after the other.
    """

    size: int
    digests: bytes

    @property
    def is_complete(self) -> bool:
        """Whether there is a digest for each piece."""
        return len(self.digests) == -(-self.size // PIECE_BYTES) * DIGEST_BYTES

    def find_changed(self, start: int, data: memoryview) -> int | None:
        """Return the offset of the first piece that has changed, if there is one.

        Args:
            start: Offset of the data in the file, a multiple of :data:`PIECE_BYTES`.
            data: Whole pieces of the file.
        """
        for offset in range(0, len(data), PIECE_BYTES):
            place = (start + offset) // PIECE_BYTES * DIGEST_BYTES
            known = self.digests[place : place + DIGEST_BYTES]
            if hashlib.sha256(data[offset : offset + PIECE_BYTES]).digest() != known:
                return start + offset
        return None


class PieceHasher:
    """Makes the digests of a file from its bytes in order, in parts of any length."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._piece = hashlib.sha256()
        self._size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the file."""
        rest = memoryview(data).cast("B")
        while rest:
            part = rest[: PIECE_BYTES - self._size % PIECE_BYTES]
            self._piece.update(part)
            self._size += len(part)
            rest = rest[len(part) :]
            if not self._size % PIECE_BYTES:
                self._digests.append(self._piece.digest())
                self._piece = hashlib.sha256()

    def finish(self) -> PieceDigests:
        """Return the digests; nothing is added afterwards."""
        if self._size % PIECE_BYTES:
            self._digests.append(self._piece.digest())
        return PieceDigests(self._size, b"".join(self._digests))


def read_parts(file: IO[bytes]) -> Iterator[memoryview]:
    """Yield the rest of a file in parts, which are valid until the next one.

    Args:
        file: File that is open for reading.

    Raises:
        OSError: The file cannot be read.
    """
    buffer = memoryview(bytearray(READ_BYTES))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        yield buffer[:count]


def digest_pieces(file: IO[bytes]) -> PieceDigests:
    """Return the digests of the rest of a file.

    Args:
        file: File that is open for reading.

    Raises:
        OSError: The file cannot be read.
    """
    hasher = PieceHasher()
    for part in read_parts(file):
        hasher.update(part)
    return hasher.finish()


def digest_whole(file: IO[bytes]) -> tuple[str, PieceDigests]:
    """Return the SHA-256 of the rest of a file, in hexadecimal, and the digests of its pieces.

    Args:
        file: File that is open for reading.

    Raises:
        OSError: The file cannot be read.
    """
    whole, pieces = hashlib.sha256(), PieceHasher()
    for part in read_parts(file):
        whole.update(part)
        pieces.update(part)
    return whole.hexdigest(), pieces.finish()


FileDigests = Mapping[str, PieceDigests | None]
"""Digests of the files of a run by name; ``None`` for a file that was damaged or lost before."""


def encode_digests(files: FileDigests) -> bytes:
    """Return the digests of several files by name, as the index keeps them."""
    return orjson.dumps(
        {
            name: None if entry is None else [entry.size, base64.b64encode(entry.digests).decode()]
            for name, entry in files.items()
        }
    )


def decode_digests(data: bytes) -> dict[str, PieceDigests | None]:
    """Return what :func:`encode_digests` was given.

    Raises:
        ValueError: The data are damaged.
    """
    found: dict[str, PieceDigests | None] = {}
    try:
        entries: dict[str, Any] = orjson.loads(data)
        for name, entry in entries.items():
            if entry is None:
                found[name] = None
                continue
            size, digests = entry
            found[name] = PieceDigests(size, base64.b64decode(digests, validate=True))
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise ValueError("the digests of the files of a run are damaged") from None
    if not all(entry is None or entry.is_complete for entry in found.values()):
        raise ValueError("the digests of the files of a run are incomplete")
    return found
