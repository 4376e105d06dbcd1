"""``mse``: the squared difference of prediction and target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import ComparedOutput
from energy_flow.training.losses.term import LossTerm, Predictions

if TYPE_CHECKING:
    from torch import Tensor


class MSETerm(LossTerm):
    """Mean squared difference of the numbers of prediction and target."""

    on: ComparedOutput = Field(
        ComparedOutput.EMBEDDING, description="output that is compared with the targets"
    )

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        from torch.nn.functional import mse_loss

        return mse_loss(predictions.of(self.on), predictions.target_BO)
