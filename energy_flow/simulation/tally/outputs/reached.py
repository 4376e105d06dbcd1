"""Which surface cells a score touches, by exit plane, [B, 2, H, W]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.simulation.tally.output_source import OutputSource


def read(source: OutputSource) -> Tensor:
    """Return which cells are reached, bool [B, 2, S]."""
    return source.take(source.surfaces.reached)
