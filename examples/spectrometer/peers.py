"""The models that the flow model is compared with.

All map pictures [N, S] to what both detectors see, [N, 2 · S]: plane z0, then zdepth.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import SIDE
from torch import Tensor, nn

from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import r_squared, total_variation

CELLS = SIDE * SIDE
KERNEL = 5
"""Cells of a kernel of the CNN along x and y. Three layers see 6 cells to each side."""
MAX_CHANNELS = 256
PENALTIES = tuple(10.0**power for power in range(-4, 5))
"""Weights of the penalty of ridge regression, of which one is chosen."""


class CNN(nn.Module):
    """Three layers of convolutions, without a change of the resolution.

    Args:
        channels: of the two hidden layers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, KERNEL, padding="same"),
            nn.GELU(),
            nn.Conv2d(channels, channels, KERNEL, padding="same"),
            nn.GELU(),
            nn.Conv2d(channels, 2, KERNEL, padding="same"),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what both detectors see of pictures [N, S]."""
        seen: Tensor = self.layers(inputs.reshape(-1, 1, SIDE, SIDE))
        return seen.flatten(1)


def mlp(parameters: int, seed: int) -> nn.Module:
    """Return an MLP with one hidden layer.

    Args:
        parameters: about how many weights it has.
        seed: seed of the weights.
    """
    # An input and an output of each hidden unit, its bias, and the biases of the outputs.
    hidden = max(round((parameters - 2 * CELLS) / (3 * CELLS + 1)), 1)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(CELLS, hidden), nn.GELU(), nn.Linear(hidden, 2 * CELLS))


def cnn(parameters: int, seed: int) -> nn.Module:
    """Return a CNN.

    Args:
        parameters: about how many weights it has.
        seed: seed of the weights.
    """
    choices = range(1, MAX_CHANNELS + 1)
    channels = min(choices, key=lambda one: abs(count_cnn(one) - parameters))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return CNN(channels)


def count_cnn(channels: int) -> int:
    """Return the number of weights of a CNN.

    Args:
        channels: of the two hidden layers.
    """
    kernel = KERNEL * KERNEL
    weights = kernel * (channels + channels * channels + 2 * channels)
    return weights + 2 * channels + 2


def count(model: nn.Module) -> int:
    """Return the number of weights and biases of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def predict(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of a model, [N, 2 · S].

    Args:
        model: maps pictures to what both detectors see.
        inputs: pictures, [N, S].
    """
    with torch.inference_mode():
        predictions: NDArray[np.float32] = model(torch.from_numpy(inputs)).numpy()
    return predictions


def predict_by_ridge(
    train: Pairs, val: Pairs, inputs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Return the predictions of ridge regression, and the penalty that is best on the val rows.

    The weights W minimise |XW - Y|² + λ |W|², where X and Y are pictures and detectors minus
    their means.

    Args:
        train: pairs X and Y that the regression is fitted to.
        val: pairs by which λ is chosen.
        inputs: pictures, [N, S].
    """
    x, y = train.inputs.astype(np.float64), train.targets.astype(np.float64)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean

    def fit(penalty: float) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = np.linalg.solve(x.T @ x + penalty * np.eye(CELLS), x.T @ y)
        return weights

    def apply(weights: NDArray[np.float64], pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((pictures - x_mean) @ weights + y_mean).astype(np.float32)

    fits = {penalty: fit(penalty) for penalty in PENALTIES}
    best = max(fits, key=lambda penalty: r2(apply(fits[penalty], val.inputs), val.targets))
    return apply(fits[best], inputs), best


def r2(predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Return 1 - Σ(p - y)² / Σ(y - mean of the column)².

    Args:
        predictions: p, [N, 2 · S].
        targets: y, [N, 2 · S].
    """
    error = predictions.astype(np.float64) - targets.astype(np.float64)
    return float(r_squared((error * error).sum(), total_variation(targets)))
