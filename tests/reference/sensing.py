"""What a flow senses besides its position and energy (docs/simulation.md §2)."""

from __future__ import annotations

import numpy as np

from .layers import Float32, Float64
from .rules import Rules
from .splat import corner_weights


class Sensing:
    """The fields of one sample, made from its initial energies once and then never changed.

    No field needs a margin: an interpolated number is continuous in the position.
    """

    def __init__(self, rules: Rules, energies: Float32) -> None:
        self._sides = (rules.width, rules.height)
        self._fields: tuple[Float64, ...] = ()
        if rules.senses_gradient:
            values = energies.astype(np.float64)
            self._fields = (values, slopes_along_x(values), slopes_along_y(values))

    def at(self, position: Float32) -> Float64:
        """Return what a flow at `position` [3] senses: (g, g_x, g_y), or nothing at all."""
        return np.array([self._interpolate(field, position) for field in self._fields])

    def _interpolate(self, field: Float64, position: Float32) -> float:
        width, height = self._sides
        return sum(
            along_x * along_y * float(field[iy, ix])
            for iy, along_y in corner_weights(position[1], height)
            for ix, along_x in corner_weights(position[0], width)
        )


def slopes_along_x(values: Float64) -> Float64:
    """Return G_x [H, W] of G [H, W]; a neighbour beyond a wall is the cell itself."""
    height, width = values.shape
    slopes = np.empty((height, width))
    for iy in range(height):
        for ix in range(width):
            before, after = max(ix - 1, 0), min(ix + 1, width - 1)
            slopes[iy, ix] = (values[iy, after] - values[iy, before]) / 2
    return slopes


def slopes_along_y(values: Float64) -> Float64:
    """Return G_y [H, W], likewise along y."""
    return slopes_along_x(values.T).T
