"""``OutputSource``: the samples of which outputs are read, with what outputs are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.choices import OutputPlanes
from energy_flow.simulation.tally.tally import Surfaces


@dataclass(frozen=True, slots=True)
class OutputSource:
    """Samples of which outputs are read.

    Attributes:
        surfaces: of these samples and perhaps others.
        rows: which rows of the surfaces belong to the samples.
        mapped: what the output mapper reads.
        embed: the output mapper, from that [B, P · S] to embeddings [B, E_out].
    """

    surfaces: Surfaces
    rows: Sequence[slice]
    mapped: OutputPlanes
    embed: Callable[[Tensor], Tensor]

    def take(self, column: Tensor) -> Tensor:
        """Return the samples' rows of a column of the surfaces, [B, ...]."""
        return torch.cat([column[part] for part in self.rows])
