"""Checks what a caller sends: embeddings, sample keys, seeds, names of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import EmbeddingError, Fault

OUTPUTS: Final = ("surface", "planes", "hits", "embedding")
LARGEST: Final = float(np.finfo(np.float32).max)


def checked_embeddings(embeddings: Any, width: int) -> NDArray[np.float32]:
    """A batch of embeddings as float32 [B, width].

    Args:
        embeddings: an array, tensor or nested list of real numbers, [B, width].

    Raises:
        EmbeddingError: ragged or not numeric, wrong dimension, empty, NaN, infinite or beyond
            float32; with the index of the first such element.
    """
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().cpu().float().numpy()
    try:
        array = np.asarray(embeddings)
        if array.dtype == object or array.dtype.kind not in "fiu":
            raise ValueError
    except ValueError:
        raise _refusal(embeddings, width) from None
    if array.ndim != 2 or array.shape[1] != width:
        expected = f"expected [samples, {width}], got shape {list(array.shape)}"
        raise EmbeddingError(Fault(("embeddings",), expected, list(array.shape)))
    if array.shape[0] == 0:
        raise EmbeddingError(Fault(("embeddings",), "at least one embedding is needed", []))
    wide = array if array.dtype.kind == "f" else array.astype(np.float64)
    bad = ~(np.abs(wide) <= LARGEST)
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        value = float(wide[row, column])
        message = (
            "must be a finite number"
            if not np.isfinite(value)
            else f"must be at most {LARGEST:.6g} in magnitude, the range of float32"
        )
        got = value if np.isfinite(value) else repr(value)
        raise EmbeddingError(Fault(("embeddings", row, column), message, got))
    return np.ascontiguousarray(array, dtype=np.float32)


def _refusal(embeddings: Any, width: int) -> EmbeddingError:
    """Says where nested lists stop being a matrix of numbers."""
    if not isinstance(embeddings, Sequence) or isinstance(embeddings, str):
        return EmbeddingError(
            Fault(("embeddings",), "must be a list of lists of numbers", type(embeddings).__name__)
        )
    for row, values in enumerate(embeddings):
        if not isinstance(values, Sequence) or isinstance(values, str):
            return EmbeddingError(
                Fault(("embeddings", row), "must be a list of numbers", _shown(values))
            )
        if len(values) != width:
            return EmbeddingError(
                Fault(("embeddings", row), f"must hold {width} numbers", len(values))
            )
        for column, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return EmbeddingError(
                    Fault(("embeddings", row, column), "must be a number", _shown(value))
                )
    return EmbeddingError(Fault(("embeddings",), "must be a matrix of numbers"))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def checked_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """The outputs asked for, each once.

    Raises:
        EmbeddingError: for a name that does not exist.
    """
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise EmbeddingError(
            *(Fault(("outputs",), f"known are {', '.join(OUTPUTS)}", name) for name in unknown)
        )
    return tuple(dict.fromkeys(outputs))


def checked_keys(sample_keys: Sequence[int] | None, samples: int) -> tuple[int, ...]:
    """One key a sample; by default its row.

    Raises:
        EmbeddingError: for a wrong number of keys, or one outside [0, 2³²).
    """
    if sample_keys is None:
        return tuple(range(samples))
    keys = tuple(sample_keys)
    faults = [
        Fault(("sample_keys", row), "must be an integer from 0 to 4294967295", _shown(key))
        for row, key in enumerate(keys)
        if not _is_integer(key) or not 0 <= key < 2**32
    ]
    if len(keys) != samples:
        faults.insert(
            0, Fault(("sample_keys",), f"one key a sample is needed, {samples}", len(keys))
        )
    if faults:
        raise EmbeddingError(*faults)
    return tuple(int(key) for key in keys)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def checked_seed(seed: int) -> int:
    """A seed in [0, 2⁶³).

    Raises:
        EmbeddingError: otherwise.
    """
    if not _is_integer(seed) or not 0 <= seed < 2**63:
        raise EmbeddingError(Fault(("seed",), "must be an integer from 0 to 2**63 - 1", seed))
    return int(seed)
