"""The four cells around a place on a surface, with bilinear weights.

As in the cloud-in-cell method (Birdsall and Fuss, "Clouds-in-clouds, clouds-in-cells physics for
many-body plasma simulation", 1969).

Shape legend: N places, C = 4 corners.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

CORNERS: Final = ((0, 0), (1, 0), (0, 1), (1, 1))
"""The cells, as steps along x and y from the first of them."""


def corner_offsets(width: int) -> list[int]:
    """Return the surface indices of the four cells, counted from that of the first.

    Args:
        width: W.
    """
    return [dy * width + dx for dx, dy in CORNERS]


def corners_of(position_N3: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Return the surface index of the first corner, int64 [N], and the weights, [N, C].

    The weights are differentiable in x and y.

    Args:
        position_N3: in [-1, 1]³.
        width: W.
        height: H.
    """
    column_N, a_N = _split(position_N3[:, 0], width)
    row_N, b_N = _split(position_N3[:, 1], height)
    weight_NC = torch.stack(
        ((1 - a_N) * (1 - b_N), a_N * (1 - b_N), (1 - a_N) * b_N, a_N * b_N), dim=1
    )
    return row_N * width + column_N, weight_NC


def _split(x_N: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return the cell below a coordinate in [-1, 1], int64 [N], and the way to the next, [N]."""
    place_N = (x_N + 1) / 2 * (cells - 1)
    below_N = place_N.detach().floor().clamp(0, cells - 2)
    return below_N.to(torch.int64), place_N - below_N
