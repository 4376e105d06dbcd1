"""``mse``: the squared difference of prediction and target."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from energy_flow.training.losses.term import LossTerm, Predictions


class MSETerm(LossTerm):
    """Mean squared difference of the numbers of prediction and target."""

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        return mse_loss(predictions.embedding_BE, predictions.target_BE)
