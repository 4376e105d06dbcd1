"""How far a flow moves: scale, clamp, exploration noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Motion:
    """A proposed move.

    Attributes:
        displacement: d, [N, 3]. length: ‖d‖₂, [N]. target: q = p + d, before walls, [N, 3].
    """

    displacement: Tensor
    length: Tensor
    target: Tensor


def move(
    position_N3: Tensor,
    raw_N3: Tensor,
    scale_N: Tensor,
    limit_N: Tensor,
    noise_N3: Tensor | None,
) -> Motion:
    """``d = clamp(r · scale, ±limit) + noise``, ``q = p + d``.

    Args:
        position_N3: p. raw_N3: r, the network's proposal.
        scale_N: displacement_scale. limit_N: max_displacement, per axis.
        noise_N3: exploration noise, already scaled, or none.
    """
    limit_N1 = limit_N.unsqueeze(1)
    d_N3 = torch.clamp(raw_N3 * scale_N.unsqueeze(1), -limit_N1, limit_N1)
    if noise_N3 is not None:
        d_N3 = d_N3 + noise_N3
    # Written out: a reduction over three columns may group them by where a row sits.
    dx_N, dy_N, dz_N = d_N3.unbind(1)
    length_N = torch.sqrt(dx_N * dx_N + dy_N * dy_N + dz_N * dz_N)
    return Motion(d_N3, length_N, position_N3 + d_N3)
