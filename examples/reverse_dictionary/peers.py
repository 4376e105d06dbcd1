"""The models that the flow model is compared with, trained on the same batches and losses."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from start import add_prototypes, set_identity
from torch import Tensor, nn

from energy_flow import FlowProcessor
from energy_flow.training import TrainConfig
from energy_flow.training.candidates import Candidates
from energy_flow.training.data import Pairs, batch_rows
from energy_flow.training.losses import Predictions
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.schedules import value_at

RIDGE = 10.0
"""Weight of the penalty of ridge regression."""


class WithoutFlows(nn.Module):
    """The mappers of a flow model; the surface is the energies that its flows would start with."""

    def __init__(self, processor: FlowProcessor) -> None:
        super().__init__()
        self.input_mapper, self.output_mapper = processor.input_mapper, processor.output_mapper

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the predictions for embeddings [B, E]."""
        return self.output_mapper(self.input_mapper(inputs))


def mlp(parameters: int, inputs: Tensor, seed: int) -> nn.Sequential:
    """Return an MLP with one hidden layer, which starts as the mappers do.

    Args:
        parameters: about how many weights it has.
        inputs: embeddings to train on, [R, E].
        seed: seed of the weights.
    """
    width = inputs.shape[1]
    hidden = (parameters - width) // (2 * width + 3)
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, width)
    )
    with torch.no_grad():
        set_identity(layers, torch.eye(width), torch.eye(width), generator)
        add_prototypes(layers, inputs, generator)
    return layers


def train(model: nn.Module, config: TrainConfig, rows: Pairs) -> None:
    """Train a model as ``Trainer`` trains a flow model.

    Args:
        model: maps embeddings [B, E] to predictions [B, E].
        config: config of the training.
        rows: rows to train on.
    """
    optimiser = Optimiser(model, config.optimiser)
    size = config.batch.rows
    steps = config.length.steps or math.ceil(len(rows) // size * (config.length.epochs or 0.0))
    for step in range(steps):
        batch = batch_rows(len(rows), size, config.seed, step)
        values = config.losses.values(_predictions(model, config, rows, batch))
        config.losses.total(values).backward()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in model.parameters() if p.grad is not None]
        )
        rate = value_at(config.schedule.learning_rate, config.optimiser.learning_rate, step, steps)
        optimiser.step(rate, float(norm))


def _predictions(
    model: nn.Module, config: TrainConfig, rows: Pairs, batch: NDArray[np.int64]
) -> Predictions:
    candidates = Candidates(rows, batch, config.losses.negatives, torch.device("cpu"))
    return Predictions(
        embedding_BO=model(torch.from_numpy(rows.inputs[batch])),
        target_BO=torch.from_numpy(rows.targets[batch]),
        target_spread=rows.target_spread,
        # Only loss terms of surfaces need these three, and they need flows.
        surface_BS=torch.empty(0),
        planes_BPS=torch.empty(0),
        input_mapper=nn.Identity(),
        **candidates.of_part(np.arange(len(batch))),
    )


def predict(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of a model for all rows, [R, E].

    Args:
        model: maps embeddings [R, E] to predictions [R, E].
        inputs: embeddings, [R, E].
    """
    with torch.inference_mode():
        predictions: NDArray[np.float32] = model(torch.from_numpy(inputs)).numpy()
    return predictions


def predict_by_ridge(rows: Pairs, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of ridge regression, whose W minimises |XW - Y|² + λ |W|².

    Args:
        rows: pairs X and Y that the regression is fitted to.
        inputs: embeddings, [R, E].
    """
    x, y = rows.inputs.astype(np.float64), rows.targets.astype(np.float64)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    return (inputs @ weights).astype(np.float32)
