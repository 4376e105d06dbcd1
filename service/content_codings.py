"""Content codings of bodies and answers: gzip, deflate and zstd (RFC 9110, section 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from service.problems import Problem

MAX_MEMBERS: Final = 10_000
"""Most parts of a gzip or zstd body; programs that compress blocks of 64 KiB write fewer."""

LEVEL: Final = 1
"""Level of compression of answers. Random floats shrink by 7 % at every level."""

PIECE_BYTES: Final = 256 * 1024
"""Most bytes that are decoded at a time, whatever a body promises."""

# The libraries copy what follows the end of a member, so they get a slice at a time.
_SLICE_BYTES = 16 * 1024

# "deflate" in HTTP is the zlib format.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

# RFC 8878, section 3.1.1.1.2: decoders should support windows of 8 MiB.
_ZSTD_WINDOW_LOG = 23


class _Member(Protocol):
    """The decoder of one member of a body."""

    @property
    def eof(self) -> bool: ...

    def read(self, sent: bytes) -> tuple[bytes, bytes]:
        """Return decoded bytes, at most :data:`PIECE_BYTES`, and what was not read of ``sent``.

        Raises:
            _DamagedError: The bytes have another form.
        """
        ...


class _DamagedError(Exception):
    """A member is damaged."""


class _ZlibMember:
    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def read(self, sent: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._stream.decompress(sent, PIECE_BYTES)
        except zlib.error as error:
            raise _DamagedError(error) from None
        return piece, self._stream.unused_data or self._stream.unconsumed_tail


class _ZstdMember:
    def __init__(self) -> None:
        from service import zstandard

        self._damage = zstandard.ZstdError
        options: dict[int, int] = {
            zstandard.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG
        }
        self._stream = zstandard.ZstdDecompressor(options=options)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def read(self, sent: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._stream.decompress(sent, PIECE_BYTES)
        except self._damage as error:
            raise _DamagedError(error) from None
        return piece, self._stream.unused_data if self._stream.eof else b""


_MEMBERS: Final[dict[str, Callable[[], _Member]]] = {
    "gzip": lambda: _ZlibMember(_WINDOW_BITS["gzip"]),
    "deflate": lambda: _ZlibMember(_WINDOW_BITS["deflate"]),
    "zstd": _ZstdMember,
}

CODINGS: Final = tuple(_MEMBERS)
"""Names of the codings."""


class Decoder:
    """Decodes a body that arrives in pieces.

    Args:
        coding: One of :data:`CODINGS`.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._member: _Member | None = None
        self._members = 0

    def decode(self, sent: bytes) -> Iterator[bytes]:
        """Yield the next decoded bytes, at most :data:`PIECE_BYTES` at a time.

        Args:
            sent: The next bytes of the body.

        Raises:
            Problem: 400, the body is damaged or has too many members.
        """
        for start in range(0, len(sent), _SLICE_BYTES):
            yield from self._decode_slice(sent[start : start + _SLICE_BYTES])

    def finish(self) -> None:
        """Check that the body is complete.

        Raises:
            Problem: 400, it is not.
        """
        if self._member is not None:
            raise Problem(400, f"the {self._coding} body ends too early")

    def _decode_slice(self, sent: bytes) -> Iterator[bytes]:
        is_full = False
        while sent or is_full:
            if self._member is None:
                self._member = self._open_member()
            try:
                piece, sent = self._member.read(sent)
            except _DamagedError as error:
                raise Problem(400, f"the body is not {self._coding}: {error}") from None
            # The rest of a full piece comes without further input.
            is_full = len(piece) == PIECE_BYTES and not self._member.eof
            if self._member.eof:
                self._member = None
            if piece:
                yield piece

    def _open_member(self) -> _Member:
        if self._members and self._coding == "deflate":
            raise Problem(400, "more bytes follow the deflate body")
        if self._members == MAX_MEMBERS:
            message = f"the {self._coding} body has more than {MAX_MEMBERS:,} members"
            raise Problem(400, f"{message}; send it as one")
        self._members += 1
        return _MEMBERS[self._coding]()


class Encoder(Protocol):
    """What compresses an answer."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the next compressed bytes; they may be empty."""
        ...

    def flush(self) -> bytes:
        """Return the last compressed bytes."""
        ...


def make_encoder(coding: str) -> Encoder:
    """Return what compresses one answer.

    Args:
        coding: One of :data:`CODINGS`.
    """
    if coding == "zstd":
        from service import zstandard

        return zstandard.ZstdCompressor(level=LEVEL)
    return zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW_BITS[coding])


def choose_coding(accept: str) -> str | None:
    """Return how to compress an answer, if ``Accept-Encoding`` names one known coding alone.

    Many clients list what they can read without needing it, and the numbers hardly shrink.

    Args:
        accept: The header's value.
    """
    coding = accept.strip().lower()
    return coding if coding in _MEMBERS else None
