"""``info_nce``: a prediction should be nearer to its own target than to others.

Shape legend: B rows, O output embedding width, K candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import Negatives
from energy_flow.training.losses.term import LossTerm, Predictions

if TYPE_CHECKING:
    from torch import Tensor


class InfoNCETerm(LossTerm):
    """Cross entropy of finding the row's own target among candidates.

    ``-log softmax(cos(prediction, candidates) / temperature)`` at the own target, as in van den
    Oord, Li and Vinyals, "Representation learning with contrastive predictive coding" (2018), from
    predictions to targets. Targets of other rows that equal the own one are left out.
    """

    temperature: float = Field(0.05, gt=0, description="divisor of the cosines in the softmax")
    negatives: Negatives = Field(
        Negatives.BATCH, description="targets among which a prediction looks for its own"
    )

    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""
        # Here, as in the other terms: a config is checked without torch.
        import torch
        from torch.nn.functional import cross_entropy, normalize

        embedding_BO = normalize(predictions.embedding_BO)
        cosine_BK = embedding_BO @ normalize(predictions.candidates_KO).t()
        own_B1 = predictions.own_B.unsqueeze(1)
        is_own_B1 = torch.zeros_like(own_B1, dtype=torch.bool)
        excluded_BK = predictions.same_BK.scatter(1, own_B1, is_own_B1)
        logits_BK = (cosine_BK / self.temperature).masked_fill(excluded_BK, -torch.inf)
        return cross_entropy(logits_BK, predictions.own_B)
