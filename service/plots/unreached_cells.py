"""Surface cells that no score touches, which pictures leave without a colour."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COLOUR: Final = "0.87"
"""Grey behind the pictures, as Matplotlib names it."""


def hide_unreached(values: NDArray[Any], reached: NDArray[np.bool_]) -> NDArray[Any]:
    """Mask the cells of one sample's output that are not reached.

    Args:
        values: Surface of both planes [H, W], or of each plane [2, H, W].
        reached: Output ``reached`` of the sample, bool [2, H, W].

    Returns:
        A masked array of the shape of ``values``.
    """
    is_seen = reached if values.ndim == reached.ndim else reached.any(axis=0)
    return np.ma.masked_array(values, mask=~is_seen)
