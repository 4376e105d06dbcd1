"""The models that the flow model is compared with.

All but ridge regression begin near the identity, as the flow model does: the embedding of a
definition is already near that of its words.

Shape legend: R rows, B rows of a batch, E embedding width, S surface cells, M hidden units.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu

from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import retrieval

PENALTIES = (2.5, 5.0, 10.0, 20.0, 40.0)
"""Weights of the penalty of ridge regression, of which one is chosen."""
SLOPE = 10.0
"""Slope of the first layer of the MLP, so large that its GELUs are not linear."""
PROTOTYPE_SLOPE, PROTOTYPE_COSINE = 20.0, 0.3
"""A unit beside the identity is active for inputs with a larger cosine to its prototype."""


class MappersWithGELU(nn.Module):
    """The linear mappers of the flow model, with a GELU in the place of the flows.

    A flow that moves by its energy goes to one plane or the other by its sign. GELU does the same:
    GELU(u) is near u where u is positive and near 0 where it is negative, and -GELU(-u) the other
    way round. Together they are u, so this model begins as the identity.

    Args:
        width: E.
        cells: S, at least E.
        seed: seed of the weights.
    """

    def __init__(self, width: int, cells: int, seed: int) -> None:
        super().__init__()
        isometry_SE = orthogonal(cells, width, torch.Generator().manual_seed(seed))
        self.input_mapper, self.output_mapper = (
            nn.Linear(width, cells),
            nn.Linear(2 * cells, width),
        )
        # The energies of a unit vector are so small that GELU would be linear.
        self.slope = nn.Parameter(torch.tensor(float(cells) ** 0.5))
        with torch.no_grad():
            self.input_mapper.weight.copy_(isometry_SE)
            self.output_mapper.weight.copy_(torch.cat((isometry_SE, isometry_SE)).t())
            self.input_mapper.bias.zero_()
            self.output_mapper.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the predictions for embeddings [B, E]."""
        energies = self.slope * self.input_mapper(inputs)
        planes = torch.cat((gelu(energies), -gelu(-energies)), dim=1)
        predictions: Tensor = self.output_mapper(planes / self.slope)
        return predictions


def linear(width: int) -> nn.Module:
    """Return one linear map, which begins as the identity.

    Args:
        width: E.
    """
    layer = nn.Linear(width, width)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width))
        layer.bias.zero_()
    return layer


def mlp(hidden: int, inputs: NDArray[np.float32], seed: int) -> nn.Module:
    """Return an MLP with one hidden layer, which begins near the identity.

    Two units together are linear, since GELU(u) - GELU(-u) = u. The units beyond these pairs have
    prototypes, rows near which they are active, and begin with zeros in the second layer.

    Args:
        hidden: number of hidden units, at least 2 · E.
        inputs: embeddings to train on, [R, E], from which the prototypes are drawn.
        seed: seed of the weights.
    """
    width = inputs.shape[1]
    paired = 2 * width
    generator = torch.Generator().manual_seed(seed)
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, width)
    turned = orthogonal(width, width, generator)
    order = torch.randperm(len(inputs), generator=generator)
    # Rows are repeated if there are more units than rows.
    drawn = torch.from_numpy(inputs)[order[torch.arange(hidden - paired) % len(inputs)]]
    with torch.no_grad():
        first.weight.copy_(
            torch.cat((SLOPE * turned, -SLOPE * turned, PROTOTYPE_SLOPE * drawn)),
        )
        first.bias[:paired] = 0.0
        first.bias[paired:] = -PROTOTYPE_SLOPE * PROTOTYPE_COSINE
        last.weight.zero_()
        last.weight[:, :paired] = 0.05 * torch.cat((turned, -turned)).t()
        last.bias.zero_()
    return nn.Sequential(first, nn.GELU(), nn.LayerNorm(hidden), last)


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return a random matrix with orthonormal columns.

    Args:
        rows: number of rows, at least as many as columns.
        columns: number of columns.
        generator: source of random numbers.
    """
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]


def count(model: nn.Module) -> int:
    """Return the number of weights and biases of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def predict(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of a model for all rows, [R, E].

    Args:
        model: maps embeddings [R, E] to predictions [R, E].
        inputs: embeddings, [R, E].
    """
    with torch.inference_mode():
        predictions: NDArray[np.float32] = model(torch.from_numpy(inputs)).numpy()
    return predictions


def predict_by_ridge(
    train: Pairs, held_out: Pairs, inputs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Return the predictions of ridge regression, and its penalty, chosen on the held-out rows.

    The weights W minimise |XW - Y|² + λ |W|².

    Args:
        train: pairs X and Y that the regression is fitted to.
        held_out: pairs by which λ is chosen.
        inputs: embeddings, [R, E].
    """
    x, y = train.inputs.astype(np.float64), train.targets.astype(np.float64)

    def apply(penalty: float, to: NDArray[np.float32]) -> NDArray[np.float32]:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        return (to @ weights).astype(np.float32)

    def measure(penalty: float) -> float:
        return retrieval(apply(penalty, held_out.inputs), held_out.targets).cosine

    best = max(PENALTIES, key=measure)
    return apply(best, inputs), best
