"""Checks what a caller sends: embeddings, sample keys, seeds, names of outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import EmbeddingError, Fault

OUTPUTS: Final = ("surface", "planes", "hits", "embedding")
FLOAT32_BYTES: Final = 4
LARGEST: Final = float(np.finfo(np.float32).max)


def checked_embeddings(embeddings: Any, width: int) -> NDArray[np.float32]:
    """A batch of embeddings as float32 [B, width].

    Args:
        embeddings: an array, tensor or nested list of real numbers, [B, width].

    Raises:
        EmbeddingError: ragged or not numeric, wrong dimension, empty, NaN, infinite or beyond
            float32; with the index of the first such element.
    """
    array = _as_array(embeddings, width)
    if array.ndim != 2 or array.shape[1] != width:
        expected = f"expected [samples, {width}], got shape {list(array.shape)}"
        raise EmbeddingError(Fault(("embeddings",), expected, list(array.shape)))
    if array.shape[0] == 0:
        raise EmbeddingError(Fault(("embeddings",), "at least one embedding is needed", []))
    # Narrow floats hold nothing beyond float32 but infinity.
    narrow = array.dtype.kind == "f" and array.dtype.itemsize <= FLOAT32_BYTES
    bad = ~np.isfinite(array) if narrow else ~(np.abs(array.astype(np.float64)) <= LARGEST)
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        raise EmbeddingError(_unfit(embeddings, array, row, column))
    return np.ascontiguousarray(array, dtype=np.float32)


def _as_array(embeddings: Any, width: int) -> NDArray[Any]:
    """The numbers as an array of real numbers.

    Raises:
        EmbeddingError: where they are no matrix of real numbers.
    """
    if hasattr(embeddings, "detach"):
        tensor = embeddings.detach().cpu()
        # numpy knows no bfloat16; all of it fits into float32.
        embeddings = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
    try:
        array = np.asarray(embeddings)
    except (ValueError, OverflowError):
        array = np.empty(0, dtype=object)
    if array.dtype.kind in "fiu":
        return array
    fault = _fault_of_rows(embeddings, width)
    if fault is not None:
        raise EmbeddingError(fault)
    # Numbers after all: integers of any size are kept as objects.
    return np.array([[_real(value) for value in row] for row in embeddings], dtype=np.float64)


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _unfit(embeddings: Any, array: NDArray[Any], row: int, column: int) -> Fault:
    value = float(array[row, column])
    given = embeddings[row][column] if isinstance(embeddings, Sequence) else value
    beyond = math.isfinite(value) or isinstance(given, int)
    message = (
        f"must be at most {LARGEST:.6g} in magnitude, the range of float32"
        if beyond
        else "must be a finite number"
    )
    got = value if math.isfinite(value) else _shown(given)
    return Fault(("embeddings", row, column), message, got)


def _fault_of_rows(embeddings: Any, width: int) -> Fault | None:
    """Where nested lists stop being a matrix of numbers, if they do."""
    if not isinstance(embeddings, Sequence) or isinstance(embeddings, str):
        got = getattr(embeddings, "dtype", type(embeddings).__name__)
        return Fault(("embeddings",), "must be a list of lists of real numbers", str(got))
    for row, values in enumerate(embeddings):
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
            return Fault(("embeddings", row), "must be a list of numbers", _shown(values))
        if len(values) != width:
            return Fault(("embeddings", row), f"must hold {width} numbers", len(values))
        for column, value in enumerate(values):
            real = isinstance(value, int | float | np.integer | np.floating)
            if isinstance(value, bool) or not real:
                return Fault(("embeddings", row, column), "must be a number", _shown(value))
    return None


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = type(value).__name__
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
