"""``surface``: the flows of an input should leave the energies that those of its target start with.

Shape legend: B rows, S surface cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.training.losses.term import LossTerm, Predictions, mean_cosine_distance

if TYPE_CHECKING:
    from torch import Tensor


class SurfaceTerm(LossTerm):
    """1 - cosine of the surface and the input mapper's energies of the target, in [0, 2]."""

    detach_target: bool = Field(True, description="no gradient through the target's energies")

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        wanted_BS = predictions.input_mapper(predictions.target_BO)
        if self.detach_target:
            wanted_BS = wanted_BS.detach()
        return mean_cosine_distance(predictions.surface_BS, wanted_BS)
