"""Checks of what a caller sends: embeddings, sample keys, seeds, names of outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import as_matrix, one_row_is, show_value
from energy_flow.choices import Output, must_be_one_of, names_of
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import EmbeddingError, Fault

FLOAT32_BYTES: Final = 4
MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
MAX_SAMPLE_KEY: Final = 2**32 - 1
MAX_SEED: Final = 2**63 - 1


def check_embeddings(embeddings: Any, width: int) -> NDArray[np.float32]:
    """Return a batch of embeddings as float32 [B, width].

    Args:
        embeddings: real numbers [B, width], as an array, tensor, data frame, column of lists or
            nested list.
        width: the dimension that the model expects.

    Raises:
        EmbeddingError: they are ragged, not numeric, of another dimension, empty, NaN, infinite or
            beyond float32; it names the index of the first such element.
    """
    array = as_matrix(embeddings, width)
    if array.ndim != 2 or array.shape[1] != width:
        expected = f"must have the shape [samples, {width}]"
        if array.ndim == 1:
            expected = f"{expected}; {one_row_is(width)}"
        raise EmbeddingError(Fault(("embeddings",), expected, list(array.shape)))
    if array.shape[0] == 0:
        raise EmbeddingError(Fault(("embeddings",), "must hold at least one embedding", []))
    # Of float16 and float32, only NaN and infinity are out of range.
    is_float32 = array.dtype.kind == "f" and array.dtype.itemsize <= FLOAT32_BYTES
    bad = ~np.isfinite(array) if is_float32 else ~(np.abs(array.astype(np.float64)) <= MAX_FLOAT32)
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        raise EmbeddingError(_value_fault(embeddings, array, row, column))
    return np.ascontiguousarray(array, dtype=np.float32)


def _value_fault(embeddings: Any, array: NDArray[Any], row: int, column: int) -> Fault:
    value = float(array[row, column])
    item = embeddings[row][column] if isinstance(embeddings, Sequence) else value
    beyond = math.isfinite(value) or isinstance(item, int)
    message = (
        f"must be at most {MAX_FLOAT32:.6g} in magnitude, the range of float32"
        if beyond
        else "must be a finite number"
    )
    got = value if math.isfinite(value) else show_value(item)
    return Fault(("embeddings", row, column), message, got)


def check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the requested outputs, each once.

    Args:
        outputs: names of ``choices.Output``.

    Raises:
        EmbeddingError: a name does not exist.
    """
    known = names_of(Output)
    unknown = [name for name in outputs if name not in known]
    if unknown:
        raise EmbeddingError(
            *(Fault(("outputs",), must_be_one_of(name, known), name) for name in unknown)
        )
    return names_of(dict.fromkeys(Output(name) for name in outputs))


def check_keys(sample_keys: Sequence[int] | None, samples: int) -> tuple[int, ...]:
    """Return a key for each sample.

    Args:
        sample_keys: integers in [0, 2³²); by default the rows.
        samples: how many samples there are.

    Raises:
        EmbeddingError: there is another number of keys, or one is out of range.
    """
    if sample_keys is None:
        return tuple(range(samples))
    keys = tuple(sample_keys)
    faults = [
        Fault(
            ("sample_keys", row), f"must be an integer from 0 to {MAX_SAMPLE_KEY}", show_value(key)
        )
        for row, key in enumerate(keys)
        if not _is_integer(key) or not 0 <= key <= MAX_SAMPLE_KEY
    ]
    if len(keys) != samples:
        faults.insert(
            0, Fault(("sample_keys",), f"must hold {samples} keys, one for each sample", len(keys))
        )
    if faults:
        raise EmbeddingError(*faults)
    return tuple(int(key) for key in keys)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def describe_seed_fault(seed: int | None, config: FlowConfig) -> str | None:
    """Return why a config cannot run with a seed; ``None`` if it can.

    Args:
        seed: of the noise; ``None`` for that of the config.
        config: the config of the run.
    """
    # A deterministic run has the config's own seed, which the options may set.
    if not config.deterministic or seed in (None, config.seed):
        return None
    return (
        f"a deterministic run has the config's seed, {config.seed}; leave the seed out, or set "
        "the option deterministic to false"
    )


def check_seed(seed: int) -> int:
    """Return a seed as a plain integer.

    Args:
        seed: in [0, 2⁶³).

    Raises:
        EmbeddingError: it is not an integer, or out of range.
    """
    if not _is_integer(seed) or not 0 <= seed <= MAX_SEED:
        raise EmbeddingError(Fault(("seed",), f"must be an integer from 0 to {MAX_SEED}", seed))
    return int(seed)
