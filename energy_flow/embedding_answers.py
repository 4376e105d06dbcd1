"""Answers of an embeddings API, in the form of OpenAI's ``/v1/embeddings``.

Such an answer has the member ``data``, a list of entries with ``embedding`` and ``index``. An
embedding is a list of numbers, or float32 numbers as bytes in base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import EmbeddingError, Fault

DATA: Final = "data"
EMBEDDING: Final = "embedding"
INDEX: Final = "index"

_FLOAT32: Final = np.dtype("<f4")


def decode_base64(text: str) -> NDArray[np.float32]:
    """Return the numbers of an embedding in base64: float32, little-endian.

    Args:
        text: the bytes in base64.

    Raises:
        ValueError: it is something else.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"must be a list of numbers, or float32 in base64: {error}") from None
    if not data or len(data) % _FLOAT32.itemsize:
        raise ValueError(f"must be float32 in base64, 4 bytes a number; it has {len(data)} bytes")
    return np.frombuffer(data, _FLOAT32).astype(np.float32)


def rows_of_answer(answer: Any) -> list[Any] | None:
    """Return the embeddings of an answer in the order of ``index``; ``None`` for anything else.

    Args:
        answer: a mapping as JSON has it, or the object of a library, whose attributes have the same
            names.

    Raises:
        EmbeddingError: an embedding is not base64, or the indexes are not 0, 1, 2, … in any order.
    """
    if hasattr(answer, "__array__"):
        # Its attribute data is something else, and reading it can fail.
        return None
    entries = _get(answer, DATA)
    if not isinstance(entries, list | tuple) or not entries:
        return None
    if any(_get(entry, EMBEDDING) is None for entry in entries):
        return None
    rows: dict[int, Any] = {}
    for place, entry in enumerate(entries):
        index = _get(entry, INDEX)
        index = place if index is None else index
        if not isinstance(index, int) or isinstance(index, bool) or index in rows:
            message = "must be the number of the input, and of one entry"
            raise EmbeddingError(Fault((DATA, place, INDEX), message, index))
        rows[index] = _decode(_get(entry, EMBEDDING), place)
    missing = next((index for index in range(len(rows)) if index not in rows), None)
    if missing is not None:
        message = f"has no entry with the index {missing}"
        raise EmbeddingError(Fault((DATA,), message, sorted(rows)[:10]))
    return [rows[index] for index in range(len(rows))]


def _get(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping):
        return owner.get(name)
    return getattr(owner, name, None)


def _decode(embedding: Any, place: int) -> Any:
    if not isinstance(embedding, str):
        return embedding
    try:
        return decode_base64(embedding)
    except ValueError as error:
        got = embedding if len(embedding) <= 60 else f"{embedding[:57]}..."
        raise EmbeddingError(Fault((DATA, place, EMBEDDING), str(error), got)) from None
