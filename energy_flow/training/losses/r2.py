"""``r2``: the squared difference of prediction and target, by the variance of the targets.

Shape legend: B rows, O output embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import ComparedOutput
from energy_flow.training.losses.term import LossTerm, Predictions

if TYPE_CHECKING:
    from torch import Tensor


class R2Term(LossTerm):
    """1 - R², the share of the targets' variance that predictions do not explain.

    The mean over rows of ``‖p - y‖²``, divided by the mean over the rows to train on of
    ``‖y - ȳ‖²``, where ȳ is the mean target. The divisor does not depend on the batch, so that the
    term is a mean over rows.
    """

    on: ComparedOutput = Field(
        ComparedOutput.EMBEDDING, description="output that is compared with the targets"
    )

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        difference_BO = predictions.of(self.on) - predictions.target_BO
        return difference_BO.square().sum(dim=1).mean() / predictions.target_spread
