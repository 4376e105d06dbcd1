"""``EnergyLattice``: cells, walls and planes as arithmetic on positions (docs/simulation.md §1).

Positions are float32 in [-1, 1]³ and never rounded. A cell is an index that is computed when it is
needed; no grid is stored or searched.

Shape legend: N flows, S = W · H surface cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TIE_SHIFT = 2.0**-12
"""Assigns a tie between two cells to the lower one, whatever the rounding."""


@dataclass(frozen=True, slots=True)
class EnergyLattice:
    """A W × H × D box with its input plane at z = 0 and exit planes at z = -1 and z = +1.

    Attributes:
        width: W.
        height: H.
        depth: D.
    """

    width: int
    height: int
    depth: int

    @property
    def surface_cells(self) -> int:
        """S = W · H."""
        return self.width * self.height

    def cell_of(self, x_N: Tensor, y_N: Tensor) -> Tensor:
        """Return the surface indices s = iy · W + ix of positions, int64 [N] in [0, S)."""
        ix_N = _nearest(x_N, self.width)
        iy_N = _nearest(y_N, self.height)
        return iy_N * self.width + ix_N

    def positions_of(self, cell_N: Tensor) -> Tensor:
        """Return the positions [N, 3] of surface cells on the input plane z = 0."""
        x_N = 2.0 * (cell_N % self.width).to(torch.float32) / (self.width - 1) - 1.0
        y_N = 2.0 * (cell_N // self.width).to(torch.float32) / (self.height - 1) - 1.0
        return torch.stack((x_N, y_N, torch.zeros_like(x_N)), dim=1)


def _nearest(coordinate_N: Tensor, cells: int) -> Tensor:
    index_N = torch.floor((coordinate_N + 1.0) / 2.0 * (cells - 1) + (0.5 - TIE_SHIFT))
    # Clamped as integers: a NaN, which will fail its run, must not become an invalid index.
    return index_N.to(torch.int64).clamp(0, cells - 1)


def fold(q_N: Tensor) -> Tensor:
    """Return a coordinate folded into [-1, 1] as a mirror at ±1 does, however far it overshoots.

    |q| ≤ 1 is left bitwise as it is, else 1 - |((q + 1) mod 4) - 2| (docs/simulation.md §3.6).
    """
    return torch.where(q_N.abs() <= 1.0, q_N, 1.0 - (torch.remainder(q_N + 1.0, 4.0) - 2.0).abs())


def nearest_plane(z_N: Tensor) -> Tensor:
    """Return the nearest exit planes, int64 [N]: 0 for z0 where z ≤ 0, else 1 for zdepth."""
    return (z_N > 0.0).to(torch.int64)
