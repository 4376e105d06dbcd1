"""Which cells a score touches under `splat`, and by how much (docs/simulation.md §4).

u, v and ζ are arithmetic on positions and so float32, in the order in which the document writes
it, because whether a weight is above 0 decides `reached`. The weights made from them are float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .decisions import ONE, TWO, F, Plane


class Touch(NamedTuple):
    """What a score gives to one cell of one plane."""

    plane: int
    ix: int
    iy: int
    weight: float
    """k ζ, above 0; 1 in other modes than splat."""


def corner_number(coordinate: np.float32, count: int) -> np.float32:
    """Return u = (x + 1) / 2 · (W - 1), which is whole at the centre of a cell."""
    return F((coordinate + ONE) / TWO * F(count - 1))


def corner_weights(coordinate: np.float32, count: int) -> list[tuple[int, float]]:
    """Return (i, 1 - a) and (i + 1, a), the two cells along one axis and their shares."""
    u = corner_number(coordinate, count)
    lower = min(max(math.floor(u), 0), count - 2)
    a = float(u) - lower
    return [(lower, 1.0 - a), (lower + 1, a)]


def distance_to_corner(coordinate: np.float32, count: int) -> float:
    """Return how far a coordinate is from the nearest centre of a cell, where cells change."""
    u = float(corner_number(coordinate, count))
    return abs(u - round(u)) * 2.0 / (count - 1)


def plane_shares(z: np.float32) -> list[tuple[Plane, float]]:
    """Return ζ of both planes, for the z after rule 7 and before any move to a plane."""
    return [
        (Plane.Z0, float(F((ONE - z) / TWO))),
        (Plane.ZDEPTH, float(F((ONE + z) / TWO))),
    ]


def touches_of(
    x: np.float32, y: np.float32, z: np.float32, width: int, height: int
) -> tuple[Touch, ...]:
    """Return the cells that a score at (x, y, z) touches: those with k ζ > 0."""
    touches = []
    for plane, share in plane_shares(z):
        for iy, along_y in corner_weights(y, height):
            for ix, along_x in corner_weights(x, width):
                weight = along_x * along_y * share
                if weight > 0.0:
                    touches.append(Touch(int(plane), ix, iy, weight))
    return tuple(touches)
