"""``mse``: the squared difference of prediction and target."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from energy_flow.choices import ComparedOutput
from energy_flow.training.losses.term import LossTerm, Predictions


class MSETerm(LossTerm):
    """Mean squared difference of the numbers of prediction and target."""

    on: ComparedOutput = Field(
        ComparedOutput.EMBEDDING, description="output that is compared with the targets"
    )

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        return mse_loss(predictions.of(self.on), predictions.target_BO)
