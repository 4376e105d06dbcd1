"""Checks of embeddings: rows of numbers, then float32 [rows, dimension]."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import one_row_is
from energy_flow.errors import Fault
from service.requests.large_arrays import LargeArray
from service.requests.number_rows import find_row_faults, find_unfit_number

EMBEDDINGS: Final = LargeArray("embeddings", lambda document: [document], ("embeddings",))
"""The embeddings of a JSON request."""

SAMPLE_KEYS: Final = LargeArray(
    "sample_keys",
    lambda document: [document],
    ("sample_keys",),
    has_rows=False,
    may_be_flat=True,
    is_integral=True,
)
"""The keys of a JSON request."""
FindFitting: TypeAlias = Callable[[int], Iterable[str]]
"""Returns the names of the models that take rows of a dimension."""

_MAX_NAMED: Final = 8
"""A refusal names no more models."""


def make_array(rows: Any) -> tuple[NDArray[np.float64] | None, list[Fault]]:
    """Return rows of numbers as float64 [rows, columns], or the faults that prevent it.

    Args:
        rows: A list of lists, or an array that was parsed in pieces.
    """
    if isinstance(rows, np.ndarray):
        return rows, []
    faults = find_row_faults(rows)
    return (None, faults) if faults else (np.array(rows, dtype=np.float64), [])


def describe_other_dimension(
    model: str, dimension: int, given: int, find_fitting: FindFitting
) -> str:
    """Return what is wrong with rows of another dimension than the model's, and what to do.

    Args:
        model: Name of the model.
        dimension: Numbers of a row that the model expects.
        given: Numbers of the rows.
        find_fitting: Finds the models that take rows of a dimension.
    """
    problem = f"embeddings have {given} numbers, the model {model!r} takes {dimension}"
    if not given:
        return problem
    fitting = list(find_fitting(given))
    if not fitting:
        return (
            f"{problem}; no model takes {given}: create one by POST /v1/models with "
            f'the config {{"embedding_dim": {given}}}, or by energy-flow model create NAME '
            f"--set embedding_dim={given}"
        )
    more = len(fitting) - _MAX_NAMED
    names = ", ".join(fitting[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{problem}; models that take {given}: {names}"


def check_numbers(
    numbers: NDArray[Any], dimension: int, model: str, find_fitting: FindFitting
) -> tuple[NDArray[np.float32] | None, list[Fault]]:
    """Return embeddings as float32, or the faults that prevent it.

    Args:
        numbers: Floats [rows, dimension].
        dimension: Numbers of a row that the model expects.
        model: Name of the model.
        find_fitting: Finds the models that take rows of a dimension.
    """
    faults: list[Fault] = []
    if numbers.ndim != 2:
        message = f"must have the shape [rows, {dimension}]"
        if numbers.ndim == 1:
            message = f"{message}; {one_row_is(dimension)}"
        return None, [Fault(("embeddings",), message, list(numbers.shape))]
    if len(numbers) == 0:
        return None, [Fault(("embeddings",), "must hold at least one row", list(numbers.shape))]
    if numbers.shape[1] != dimension:
        given = int(numbers.shape[1])
        message = describe_other_dimension(model, dimension, given, find_fitting)
        faults.append(Fault(("embeddings",), message, given))
    unfit = find_unfit_number(numbers)
    if unfit is not None:
        faults.append(unfit)
    if faults:
        return None, faults
    # A copy even if the dtype is right: the array of a .npy body is a view of the body.
    return np.array(numbers, dtype=np.float32, order="C"), []
