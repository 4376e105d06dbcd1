"""What the side walls and exit planes do to a proposed position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.choices import Wall
from energy_flow.simulation.lattice import fold


@dataclass(frozen=True, slots=True)
class Walls:
    """Positions after the walls.

    Attributes:
        position: folded or clamped in x and y, then clamped to [-1, 1] on all axes, [N, 3].
        wall_bits: sum of ``Wall.bit`` of the walls first crossed, int64 [N]; 0 for flows that
            make no ``reflect`` record.
        exits: whether the flow reached an exit plane, bool [N].
    """

    position: Tensor
    wall_bits: Tensor
    exits: Tensor


def meet_walls(target_N3: Tensor, clamps_N: Tensor) -> Walls:
    """Apply the side walls to targets, and find the exits (docs/simulation.md §3.5 to 3.7).

    Args:
        target_N3: q, the positions before the walls, [N, 3].
        clamps_N: whether the walls clamp x and y instead of folding them, bool [N].
    """
    x_N, y_N, z_N = target_N3.unbind(1)
    bits_N = (
        Wall.X_LOW.bit * (x_N < -1.0).to(torch.int64)
        + Wall.X_HIGH.bit * (x_N > 1.0).to(torch.int64)
        + Wall.Y_LOW.bit * (y_N < -1.0).to(torch.int64)
        + Wall.Y_HIGH.bit * (y_N > 1.0).to(torch.int64)
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
