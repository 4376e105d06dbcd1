"""Soft deposition: how a score is shared among cells and planes (docs/simulation.md §4, splat).

The weights of cells are bilinear, as in the cloud-in-cell method (Birdsall and Fuss, "Clouds-in-
clouds, clouds-in-cells physics for many-body plasma simulation", 1969). They and those of the
planes are differentiable in the position of an exit.

Shape legend: K scores, C = 4 corners, P = 2 planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_IMPORTANCE = 2.0
"""Largest importance of a score."""
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Cells that a score touches, as steps along x and y from the first of them."""


@dataclass(frozen=True, slots=True)
class Deposits:
    """Shares of scores.

    Attributes:
        cell: surface index of each score's first corner, int64 [K].
        share: k ζ e^w of each plane and corner, [K, P · C], plane by plane.
    """

    cell: Tensor
    share: Tensor

    @classmethod
    def of(cls, position_K3: Tensor, weight_K: Tensor, width: int, height: int) -> Deposits:
        """Return the shares of scores.

        Args:
            position_K3: after the walls and before any move to a plane, [K, 3].
            weight_K: importance without its limit, [K].
            width: W.
            height: H.
        """
        x_K, y_K, z_K = position_K3.unbind(1)
        column_K, a_K = _split(x_K, width)
        row_K, b_K = _split(y_K, height)
        k_KC = torch.stack(
            ((1 - a_K) * (1 - b_K), a_K * (1 - b_K), (1 - a_K) * b_K, a_K * b_K), dim=1
        )
        zeta_KP = torch.stack(((1 - z_K) / 2, (1 + z_K) / 2), dim=1)
        # Rounded once from float64: bits must not depend on an element's place.
        limited_K = weight_K.clamp(max=MAX_IMPORTANCE)
        exponential_K = limited_K.to(torch.float64).exp().to(weight_K.dtype)
        touch_KPC = zeta_KP.unsqueeze(2) * k_KC.unsqueeze(1)
        share_KPC = touch_KPC * exponential_K.view(-1, 1, 1)
        return cls(row_K * width + column_K, share_KPC.flatten(1))


def _split(x_K: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return the cell below a coordinate in [-1, 1], int64 [K], and the way to the next, [K]."""
    place_K = (x_K + 1) / 2 * (cells - 1)
    below_K = place_K.detach().floor().clamp(0, cells - 2)
    return below_K.to(torch.int64), place_K - below_K
