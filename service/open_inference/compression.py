"""Compressed bodies and answers (``Content-Encoding``)."""

from __future__ import annotations

import zlib
from typing import Final

from service.problems import Problem

# zlib's numbers for the two formats; "deflate" in HTTP is the zlib format.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ACCEPTED: Final = ", ".join(_WINDOW_BITS)
"""Names of the encodings, as a header has them."""

MAX_MEMBERS: Final = 10_000
"""Most parts of a gzip body; programs that compress blocks of 64 KiB write fewer."""

# zlib copies what follows the end of a member, so it gets a piece at a time.
_PIECE_BYTES = 64 * 1024

LEVEL: Final = 1
"""Level of compression. Random floats shrink by 7 % at every level."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its encoding.

    Args:
        body: The body as sent.
        encoding: Name of the encoding; empty for none.
        limit: Most bytes that it may have. The limit is checked before so many are allocated.

    Raises:
        Problem: 400, the body is damaged or incomplete, or has too many members; 413, it is beyond
            the limit; 501, the encoding is not known.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        message = f"Content-Encoding {encoding!r} is not known; known are {ACCEPTED}"
        raise Problem(501, message, headers={"Accept-Encoding": ACCEPTED})
    pieces: list[bytes] = []
    sent, position, left = memoryview(body), 0, limit
    for _ in range(MAX_MEMBERS):
        stream = zlib.decompressobj(_WINDOW_BITS[encoding])
        while not stream.eof:
            part = sent[position : position + _PIECE_BYTES]
            if not part:
                raise Problem(400, f"the {encoding} body ends too early")
            try:
                # One byte more than allowed, to distinguish full from too large.
                piece = stream.decompress(part, left + 1)
            except zlib.error as error:
                raise Problem(400, f"the body is not {encoding}: {error}") from None
            left -= len(piece)
            if left < 0:
                message = f"the body may have {limit:,} bytes and has more after decompression"
                raise Problem(413, message)
            pieces.append(piece)
            position += len(part) - len(stream.unused_data)
        if position == len(sent):
            return b"".join(pieces)
        if encoding != "gzip":
            follows = len(sent) - position
            raise Problem(400, f"{follows:,} bytes follow the {encoding} body")
    raise Problem(400, f"the gzip body has more than {MAX_MEMBERS:,} members; send it as one")


def choose_encoding(accept: str) -> str | None:
    """Return how to compress an answer, if ``Accept-Encoding`` names one known encoding alone.

    Many clients list what they can read without needing it, and the numbers hardly shrink.

    Args:
        accept: The header's value.
    """
    encoding = accept.strip().lower()
    return encoding if encoding in _WINDOW_BITS else None


def compress(body: bytes, encoding: str) -> bytes:
    """Return a body in an encoding.

    Args:
        body: The body.
        encoding: ``gzip`` or ``deflate``.
    """
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()
