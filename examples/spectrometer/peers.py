"""The models that the flow model is compared with.

All map pictures [N, S] to what both detectors see, [N, 2 · S]: plane z0, then zdepth.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from pictures import MOVES, SIDE, Blobs, deflection, paint
from torch import Tensor, nn

from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import r_squared, total_variation

CELLS = SIDE * SIDE
MAX_CHANNELS = 256
PENALTIES = tuple(10.0**power for power in range(-4, 5))
"""Weights of the penalty of ridge regression, of which one is chosen."""


class CNN(nn.Module):
    """Layers of convolutions, without a change of the resolution.

    Args:
        channels: of the hidden layers.
        layers: with the last one.
        kernel: cells of a kernel along x and y.
    """

    def __init__(self, channels: int, layers: int, kernel: int) -> None:
        super().__init__()
        widths = [1, *[channels] * (layers - 1), 2]
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [nn.Conv2d(before, after, kernel, padding="same"), nn.GELU()]
        self.layers = nn.Sequential(*parts[:-1])

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


def cnn(parameters: int, seed: int, layers: int = 3, kernel: int = 5) -> nn.Module:
    """Return a CNN.

    Args:
        parameters: about how many weights it has.
        seed: seed of the weights.
        layers: with the last one.
        kernel: cells of a kernel along x and y.
    """

    def difference(channels: int) -> int:
        hidden = (layers - 2) * channels * channels
        weights = kernel * kernel * (3 * channels + hidden) + (layers - 1) * channels + 2
        return abs(weights - parameters)

    channels = min(range(1, MAX_CHANNELS + 1), key=difference)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return CNN(channels, layers, kernel)


deep_cnn = partial(cnn, layers=5, kernel=3)
"""Returns a CNN of more and smaller layers. They see 5 cells to each side, those of ``cnn`` 6."""


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


def move_cells(blobs: Blobs, moves: tuple[float, float] = MOVES) -> NDArray[np.float32]:
    """Return what the detectors see if every cell is moved as a whole by the true law, [N, 2 · S].

    A cell belongs to the blob that is strongest in it, and its value is shared by the cells that
    are nearest to where it arrives. No model with one flow for each cell, and with its energy
    unchanged, knows more.

    Args:
        blobs: of the pictures.
        moves: deflection of the weakest and the strongest blob, in cells.
    """
    parts = np.stack(
        [
            paint(blobs.x[:, k, None], blobs.y[:, k, None], blobs.charge[:, k, None])
            for k in range(blobs.charge.shape[1])
        ],
        axis=1,
    )
    owner = np.abs(parts).argmax(axis=1)
    moved = np.take_along_axis(deflection(blobs.charge, moves), owner, axis=1)
    positive = np.take_along_axis(blobs.charge, owner, axis=1) > 0
    row, column = np.divmod(np.arange(CELLS, dtype=np.float64), SIDE)
    x, y = column + np.where(positive, 0.0, moved), row + np.where(positive, moved, 0.0)
    detectors = np.zeros((len(parts), 2, SIDE, SIDE))
    picture, plane = np.indices(owner.shape)[0], np.where(positive, 0, 1)
    x_low, y_low = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at_x, at_y = x_low + right, y_low + down
        share = (1 - np.abs(x - at_x)) * (1 - np.abs(y - at_y)) * parts.sum(axis=1)
        inside = (at_x < SIDE) & (at_y < SIDE)
        np.add.at(
            detectors,
            (picture[inside], plane[inside], at_y[inside], at_x[inside]),
            share[inside],
        )
    return detectors.reshape(len(parts), -1).astype(np.float32)


def r2(predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Return 1 - Σ(p - y)² / Σ(y - mean of the column)².

    Args:
        predictions: p, [N, 2 · S].
        targets: y, [N, 2 · S].
    """
    error = predictions.astype(np.float64) - targets.astype(np.float64)
    return float(r_squared((error * error).sum(), total_variation(targets)))
