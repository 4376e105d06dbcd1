"""``Losses``: the list of loss terms, and the loss, which is their weighted sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import Negatives
from energy_flow.config.validation import Group
from energy_flow.training.losses.cosine import CosineTerm
from energy_flow.training.losses.info_nce import InfoNCETerm
from energy_flow.training.losses.mse import MSETerm
from energy_flow.training.losses.r2 import R2Term
from energy_flow.training.losses.surface import SurfaceTerm
from energy_flow.training.losses.term import LossTerm, Predictions

if TYPE_CHECKING:
    from torch import Tensor


class Losses(Group):
    """Loss terms by name; a term that is absent is not computed."""

    cosine: CosineTerm | None = Field(None, description="1 - cosine of prediction and target")
    mse: MSETerm | None = Field(None, description="mean squared difference of their numbers")
    r2: R2Term | None = Field(
        None, description="1 - R², their squared difference by the variance of the targets"
    )
    surface: SurfaceTerm | None = Field(
        None, description="1 - cosine of the surface and the target's initial energies"
    )
    info_nce: InfoNCETerm | None = Field(
        None, description="cross entropy of finding the own target among others"
    )

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The terms that are present, by name."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in named.items() if term is not None}

    @property
    def negatives(self) -> Negatives:
        """The targets among which a prediction looks for its own."""
        return Negatives.BATCH if self.info_nce is None else self.info_nce.negatives

    def values(self, predictions: Predictions) -> dict[str, Tensor]:
        """Return the terms by name, each a scalar without its weight.

        Args:
            predictions: predictions for some rows of a batch.
        """
        return {name: term.value(predictions) for name, term in self.terms.items()}

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """Return the loss, a scalar: the weighted sum of the terms.

        Args:
            values: terms of :meth:`values`.
        """
        import torch

        terms = self.terms
        return torch.stack([terms[name].weight * value for name, value in values.items()]).sum()
