"""Answers as JSON; large arrays are encoded a piece at a time.

An encoder keeps the interpreter's lock until it returns. A large answer is therefore encoded in
pieces, so that the event loop can run between them while another thread encodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

PIECE_NUMBERS: Final = 16_384
"""Numbers that are encoded at once; they take some 0.5 ms."""


class JsonAnswer(Response):
    """A JSON answer; its content may have numpy arrays, or be encoded already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON; bytes are returned unchanged."""
        return content if isinstance(content, bytes) else to_json(content)


def to_json(document: Any) -> bytes:
    """Return a small document as JSON, with NaN and infinity as null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def large_to_json(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON whose objects may have large arrays at any depth."""
    return to_json(_with_fragments(document))


def array_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    """Yield an array [N, ...] as a JSON list, in pieces of whole rows."""
    row_numbers = max(int(np.prod(array.shape[1:], dtype=np.int64)), 1)
    rows = max(PIECE_NUMBERS // row_numbers, 1)
    separator = b"["
    for start in range(0, len(array), rows):
        piece = np.ascontiguousarray(array[start : start + rows])
        yield separator + orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        separator = b","
    yield b"]" if separator == b"," else b"[]"


def names_fragment(names: tuple[str, ...], codes: NDArray[np.uint8]) -> orjson.Fragment:
    """Return a list of names as JSON.

    Args:
        names: All names.
        codes: Indices into ``names``, uint8 [N].
    """
    texts = [orjson.dumps(name) for name in names]
    return orjson.Fragment(b"[" + b",".join(texts[code] for code in codes.tolist()) + b"]")


def _with_fragments(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size > PIECE_NUMBERS:
        return orjson.Fragment(b"".join(array_pieces(value)))
    if isinstance(value, Mapping):
        return {name: _with_fragments(entry) for name, entry in value.items()}
    return value


def format_timestamp(seconds: float | None) -> str | None:
    """Return a time in the form of RFC 3339, in UTC.

    Args:
        seconds: Seconds since the epoch.
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
