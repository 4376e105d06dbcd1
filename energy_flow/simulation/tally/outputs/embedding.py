"""The embedding that the output mapper makes of the surface or of both planes, [B, E_out]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.simulation.tally.output_source import OutputSource


def read(source: OutputSource) -> Tensor:
    """Return the embeddings, [B, E_out]."""
    columns = {"surface": source.surfaces.surface, "planes": source.surfaces.planes}
    return source.embed(source.take(columns[source.mapped.output]).flatten(1))
