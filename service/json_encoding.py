"""Answers as JSON; large arrays a piece at a time.

A serialiser keeps the interpreter's lock until it is done. Cut into pieces, a large answer leaves
the event loop its turns, though it is made in another thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

# Some 0.5 ms each.
PIECE_NUMBERS = 16_384


class JsonAnswer(Response):
    """Plain JSON data, numpy arrays included."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes to send; those of an answer that was serialised before pass through."""
        return content if isinstance(content, bytes) else to_json(content)


def to_json(document: Any) -> bytes:
    """A small document; arrays and numbers as JSON has them, NaN and infinity as null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def large_to_json(document: Mapping[str, Any]) -> bytes:
    """A document that may hold large arrays, as values at any depth of its objects."""
    return to_json(_with_fragments(document))


def array_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    """An array [N, ...] as a JSON list, in pieces of whole rows."""
    row_numbers = max(int(np.prod(array.shape[1:], dtype=np.int64)), 1)
    rows = max(PIECE_NUMBERS // row_numbers, 1)
    separator = b"["
    for start in range(0, len(array), rows):
        piece = np.ascontiguousarray(array[start : start + rows])
        yield separator + orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        separator = b","
    yield b"]" if separator == b"," else b"[]"


def names_fragment(names: tuple[str, ...], codes: NDArray[np.uint8]) -> orjson.Fragment:
    """A list of names, given as indices into ``names``."""
    texts = [orjson.dumps(name) for name in names]
    return orjson.Fragment(b"[" + b",".join(texts[code] for code in codes.tolist()) + b"]")


def _with_fragments(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size > PIECE_NUMBERS:
        return orjson.Fragment(b"".join(array_pieces(value)))
    if isinstance(value, Mapping):
        return {name: _with_fragments(entry) for name, entry in value.items()}
    return value
