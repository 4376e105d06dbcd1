"""Soft deposition: how a score is shared among cells and planes (docs/simulation.md §4, splat).

The weights of cells and planes are differentiable in the position of an exit.

Shape legend: K scores, C = 4 corners, P = 2 planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.corners import corners_of
from energy_flow.simulation.tally.importance import exponential

MAX_IMPORTANCE = 2.0
"""Largest importance of a score."""


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
        cell_K, k_KC = corners_of(position_K3, width, height)
        z_K = position_K3[:, 2]
        zeta_KP = torch.stack(((1 - z_K) / 2, (1 + z_K) / 2), dim=1)
        exponential_K = exponential(weight_K.clamp(max=MAX_IMPORTANCE))
        touch_KPC = zeta_KP.unsqueeze(2) * k_KC.unsqueeze(1)
        share_KPC = touch_KPC * exponential_K.view(-1, 1, 1)
        return cls(cell_K, share_KPC.flatten(1))
