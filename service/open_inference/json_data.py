"""The JSON of a request whose numbers may be millions: parsed a piece at a time.

A parser keeps the interpreter's lock until it is done, and the event loop would wait for it even
though it runs in another thread. So the list behind ``"data"`` is cut out, parsed in pieces
straight into numpy, and what remains of the document is small.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.problems import Problem
from service.requests.embeddings import PIECE_BYTES, read_json

_START = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(\[)')
_ROW = re.compile(rb"[ \t\r\n]*(\[[^\[\]]*\])[ \t\r\n]*([,\]])")
_NUMERIC = b"0123456789+-.eE,[] \t\r\n"


def read_document(text: bytes) -> dict[str, Any]:
    """The document; where it is large, with an array for the one list of numbers in it.

    Raises:
        Problem: 400, it is not a JSON object.
    """
    document = _in_pieces(text) if len(text) > PIECE_BYTES else None
    if document is None:
        document = read_json(text)
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a JSON object")
    return document


def _in_pieces(text: bytes) -> Any:
    """As a parser has it, or ``None`` where anything is out of the ordinary."""
    starts = list(_START.finditer(text))
    if len(starts) != 1:
        return None
    first = starts[0].start(1)
    cut = _rows(text, first + 1) or _flat(text, first + 1)
    if cut is None:
        return None
    numbers, end = cut
    # What stood for the numbers must be what a parser finds there, and not part of a text.
    marker = secrets.token_hex(16)
    try:
        document = orjson.loads(b"%b%b%b" % (text[:first], orjson.dumps(marker), text[end:]))
    except orjson.JSONDecodeError:
        return None
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list):
        return None
    marked = [one for one in inputs if isinstance(one, dict) and one.get("data") == marker]
    if len(marked) != 1:
        return None
    marked[0]["data"] = numbers
    return document


def _rows(text: bytes, position: int) -> tuple[NDArray[np.float64], int] | None:
    """Rows of equal length, and where their list ends."""
    parts: list[NDArray[np.float64]] = []
    start = position
    while row := _ROW.match(text, position):
        position = row.end()
        last = row[2] == b"]"
        if last or position - start >= PIECE_BYTES:
            part = _parsed(text[start : row.end(1)])
            if part is None or part.ndim != 2 or part.shape[1] != (parts or [part])[0].shape[1]:
                return None
            parts.append(part)
            start = position
        if last:
            return np.concatenate(parts), position
    return None


def _flat(text: bytes, position: int) -> tuple[NDArray[np.float64], int] | None:
    """Numbers, and where their list ends."""
    end = text.find(b"]", position)
    parts: list[NDArray[np.float64]] = []
    while position < end:
        stop = end
        if end - position > PIECE_BYTES:
            stop = text.find(b",", position + PIECE_BYTES, end)
            stop = end if stop < 0 else stop
        part = _parsed(text[position:stop])
        if part is None or part.ndim != 1 or not part.size:
            return None
        parts.append(part)
        position = stop + 1
    # Otherwise the last piece ended with a comma, and nothing came after it.
    whole = bool(parts) and position == end + 1
    return (np.concatenate(parts), end + 1) if whole else None


def _parsed(piece: bytes) -> NDArray[np.float64] | None:
    if piece.translate(None, _NUMERIC):
        return None
    try:
        return np.array(orjson.loads(b"[" + piece + b"]"), dtype=np.float64)
    except (ValueError, OverflowError):
        return None
