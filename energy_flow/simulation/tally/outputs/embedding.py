"""The embedding that the output mapper makes of the surface, [B, E]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.simulation.tally.output_source import OutputSource


def read(source: OutputSource) -> Tensor:
    """Return the embeddings, [B, E]."""
    return source.embed(source.take(source.surfaces.surface))
