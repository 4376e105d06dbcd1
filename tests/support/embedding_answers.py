"""Answers of an embeddings API, in the form of OpenAI's ``/v1/embeddings``."""

from __future__ import annotations

import base64
from typing import Any

from numpy.typing import NDArray


def to_base64(row: NDArray[Any]) -> str:
    """Return a row as float32 in base64."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def answer(rows: NDArray[Any], *, as_base64: bool = False) -> dict[str, Any]:
    """Return an answer with the rows as embeddings."""
    entries = [
        {
            "object": "embedding",
            "index": index,
            "embedding": to_base64(row) if as_base64 else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return {"object": "list", "data": entries, "model": "small [384]", "usage": usage}
