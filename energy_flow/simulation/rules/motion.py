"""How far a flow moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Motion:
    """Proposed moves.

    Attributes:
        displacement: d, [N, 3].
        length: ‖d‖₂, [N].
        target: q = p + d, before the walls, [N, 3].
    """

    displacement: Tensor
    length: Tensor
    target: Tensor


def limit_displacement(
    raw_N3: Tensor, scale_N: Tensor, limit_N: Tensor, push_N: Tensor | None = None
) -> Tensor:
    """Return d = clamp(r · scale + (0, 0, push), ±limit) (docs/simulation.md §3.2), [N, 3].

    Args:
        raw_N3: r, what the displacement head gave, [N, 3].
        scale_N: displacement_scale, [N].
        limit_N: max_displacement on each axis, [N].
        push_N: what a field adds along z, [N]; none where there is no field.
    """
    scaled_N3 = raw_N3 * scale_N.unsqueeze(1)
    if push_N is not None:
        scaled_N3 = scaled_N3 + torch.nn.functional.pad(push_N.unsqueeze(1), (2, 0))
    limit_N1 = limit_N.unsqueeze(1)
    return torch.clamp(scaled_N3, -limit_N1, limit_N1)


def push_along_z(energy_N: Tensor, scale_N: Tensor, strength_N: Tensor) -> Tensor:
    """Return displacement_scale · κ · e', what a field adds along z (docs/simulation.md §3.2), [N].

    Args:
        energy_N: e', [N].
        scale_N: displacement_scale, [N].
        strength_N: κ, field_strength, [N].
    """
    return scale_N * strength_N * energy_N


def move(position_N3: Tensor, displacement_N3: Tensor) -> Motion:
    """Return d with its length and q = p + d (docs/simulation.md §3.3 and 3.4).

    Args:
        position_N3: p, [N, 3].
        displacement_N3: d, exploration noise included, [N, 3].
    """
    # Written out: how a reduction groups three columns may depend on the row.
    dx_N, dy_N, dz_N = displacement_N3.unbind(1)
    length_N = torch.sqrt(dx_N * dx_N + dy_N * dy_N + dz_N * dz_N)
    return Motion(displacement_N3, length_N, position_N3 + displacement_N3)
