"""``LossTerm``: what every loss term has, and ``Predictions``, from which terms are computed.

Shape legend: B rows, E embedding width, O output embedding width, S surface cells, P = 2 planes, K
candidates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import ComparedOutput
from energy_flow.config.validation import Group

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for some rows, and what they should be.

    Attributes:
        embedding_BO: predicted embeddings.
        target_BO: the embeddings that they should be.
        target_spread: mean over the rows to train on of the squared distance of a target from the
            mean target.
        surface_BS: surfaces that the flows have left.
        planes_BPS: the same of each exit plane alone.
        input_mapper: maps embeddings [B, E] to the energies of the initial flows [B, S].
        candidates_KO: targets among which a prediction looks for its own.
        own_B: index of each row's own target among the candidates, int64.
        same_BK: which candidates equal the row's own target, that target included, bool.
    """

    embedding_BO: Tensor
    target_BO: Tensor
    target_spread: float
    surface_BS: Tensor
    planes_BPS: Tensor
    input_mapper: Callable[[Tensor], Tensor]
    candidates_KO: Tensor
    own_B: Tensor
    same_BK: Tensor

    def of(self, output: ComparedOutput) -> Tensor:
        """Return what is compared with the targets, [B, O].

        Args:
            output: its name; planes are flattened, z0 first.
        """
        if output is ComparedOutput.PLANES:
            return self.planes_BPS.flatten(1)
        return self.embedding_BO


class LossTerm(Group):
    """A loss term: a group of the config that computes what it describes.

    A term is a mean over rows and depends on each row's prediction alone, so that the terms of the
    parts of a batch add up to that of the batch.
    """

    weight: float = Field(1.0, ge=0, description="factor of the term in the loss")

    @abstractmethod
    def value(self, predictions: Predictions) -> Tensor:
        """Return the term without its weight, a scalar."""


def mean_cosine_distance(one_BX: Tensor, other_BX: Tensor) -> Tensor:
    """Return the mean over rows of ``1 - cos(one, other)``, in [0, 2]."""
    from torch.nn.functional import cosine_similarity

    return (1.0 - cosine_similarity(one_BX, other_BX)).mean()
