"""What the side walls and exit planes do to a proposed position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.lattice import fold


@dataclass(frozen=True, slots=True)
class Walls:
    """A position after the walls.

    Attributes:
        position: folded or clamped in x and y, then clamped to [-1, 1] on all axes, [N, 3].
        wall_bits: 1 x low, 2 x high, 4 y low, 8 y high of the walls first crossed; 0 for flows
            that make no ``reflect`` record, int64 [N].
        exits: whether the flow reached an exit plane, bool [N].
    """

    position: Tensor
    wall_bits: Tensor
    exits: Tensor


def meet_walls(target_N3: Tensor, clamps_N: Tensor) -> Walls:
    """Folds x and y at the side walls, or clamps them where ``clamps_N``; finds the exits."""
    x_N, y_N, z_N = target_N3.unbind(1)
    bits_N = (
        (x_N < -1.0).to(torch.int64)
        + 2 * (x_N > 1.0).to(torch.int64)
        + 4 * (y_N < -1.0).to(torch.int64)
        + 8 * (y_N > 1.0).to(torch.int64)
    )
    folded_N3 = torch.stack(
        (
            torch.where(clamps_N, x_N, fold(x_N)),
            torch.where(clamps_N, y_N, fold(y_N)),
            z_N,
        ),
        dim=1,
    )
    return Walls(
        position=folded_N3.clamp(-1.0, 1.0),
        wall_bits=torch.where(clamps_N, torch.zeros_like(bits_N), bits_N),
        exits=z_N.abs() >= 1.0,
    )
