"""Surface cells that no score touches, which pictures leave without a colour."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import AggregationMode, Axis, Output, names_of
from energy_flow.plots import UNREACHED

COLOUR: Final = UNREACHED
"""Grey behind the pictures, as Matplotlib names it."""


def add_marks(outputs: Iterable[str]) -> tuple[str, ...]:
    """Return the names of outputs, and ``reached`` with those that have a value for each cell.

    Args:
        outputs: Names of the outputs that are requested.
    """
    names = names_of(Output(name) for name in outputs)
    has_cells = any(Axis.X in Output(name).axes for name in names)
    is_extra = has_cells and Output.REACHED.value not in names
    return (*names, Output.REACHED.value) if is_extra else names


def find_marks(outputs: Collection[str], aggregation_mode: str) -> Output | None:
    """Return the output that is 0 in cells that are not reached; ``None`` if a run has none.

    Runs of earlier versions have ``reached`` only if it was requested.

    Args:
        outputs: Names of the outputs of a run.
        aggregation_mode: The field of its config.
    """
    if Output.REACHED in outputs:
        return Output.REACHED
    # Under splat, a score also touches cells in which it is no hit.
    if Output.HITS in outputs and aggregation_mode != AggregationMode.SPLAT:
        return Output.HITS
    return None


def hide_unreached(values: NDArray[Any], marks: NDArray[Any]) -> NDArray[Any]:
    """Mask the cells of one sample's output that are not reached.

    Args:
        values: Surface of both planes [H, W], or of each plane [2, H, W].
        marks: Output of the sample that :func:`find_marks` names, [2, H, W].

    Returns:
        A masked array of the shape of ``values``.
    """
    is_reached = marks > 0
    is_seen = is_reached if values.ndim == marks.ndim else is_reached.any(axis=0)
    return np.ma.masked_array(values, mask=~is_seen)
