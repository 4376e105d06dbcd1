"""``cosine``: the angle between prediction and target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_flow.training.losses.term import LossTerm, Predictions, mean_cosine_distance

if TYPE_CHECKING:
    from torch import Tensor


class CosineTerm(LossTerm):
    """1 - cosine of prediction and target, in [0, 2]."""

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        return mean_cosine_distance(predictions.embedding_BO, predictions.target_BO)
