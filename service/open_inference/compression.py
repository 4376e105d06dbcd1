"""Bodies that come compressed, within the limit that holds for those that do not."""

from __future__ import annotations

import zlib

from service.problems import Problem

# zlib's names for the two formats; "deflate" in HTTP is the zlib format.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
ACCEPTED = ", ".join(_WINDOW_BITS)

# Random floats give up 7 %, whatever one spends on them.
LEVEL = 1


def decompressed(body: bytes, encoding: str, limit: int) -> bytes:
    """A body as it was before it was compressed.

    Raises:
        Problem: 501, the encoding is not known; 400, the body is damaged or cut off; 413, it is
            beyond the limit, which is found out before it has been filled.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        said = f"Content-Encoding {encoding!r} is not known; known are {ACCEPTED}"
        raise Problem(501, said, headers={"Accept-Encoding": ACCEPTED})
    pieces: list[bytes] = []
    left = limit
    while True:
        stream = zlib.decompressobj(_WINDOW_BITS[encoding])
        try:
            # One byte more than there may be, to tell full from too full.
            piece = stream.decompress(body, left + 1)
        except zlib.error as error:
            raise Problem(400, f"the body is not {encoding}: {error}") from None
        left -= len(piece)
        if left < 0:
            said = f"the body may have {limit:,} bytes, and has more once it is decompressed"
            raise Problem(413, said)
        pieces.append(piece)
        if not stream.eof:
            raise Problem(400, f"the {encoding} body ends too early")
        body = stream.unused_data
        if not body:
            return b"".join(pieces)
        if encoding != "gzip":
            raise Problem(400, f"{len(body):,} bytes follow the {encoding} body")


def chosen_encoding(accept: str) -> str | None:
    """How an answer is to be compressed: only where one of ours is all that is accepted.

    Many clients list what they can read without wishing for it, and the numbers hardly shrink.
    """
    wanted = accept.strip().lower()
    return wanted if wanted in _WINDOW_BITS else None


def compressed(body: bytes, encoding: str) -> bytes:
    """A body in one of the known encodings."""
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()
