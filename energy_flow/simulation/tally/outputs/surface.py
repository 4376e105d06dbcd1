"""The energy of each surface cell, both exit planes together, [B, H, W]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.simulation.tally.output_source import OutputSource


def read(source: OutputSource) -> Tensor:
    """Return the surfaces, [B, S]."""
    return source.take(source.surfaces.surface)
