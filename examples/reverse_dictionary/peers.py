"""What the flow model is compared with, trained equally: same batches, same losses."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from start import add_prototypes, begin_identity
from torch import Tensor, nn

from energy_flow import FlowProcessor
from energy_flow.training import TrainConfig, losses
from energy_flow.training.data import Pairs, batch_rows
from energy_flow.training.gradients import Targets
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.schedules import value_at

RIDGE = 10.0


class WithoutFlows(nn.Module):
    """A flow model's mappers, the surface being the energies that its flows would start with."""

    def __init__(self, processor: FlowProcessor) -> None:
        super().__init__()
        self.input_mapper, self.output_mapper = processor.input_mapper, processor.output_mapper

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output_mapper(self.input_mapper(inputs))


def mlp(parameters: int, inputs: Tensor, seed: int) -> nn.Sequential:
    """One hidden layer with about ``parameters`` weights, begun as the mappers are."""
    width = inputs.shape[1]
    hidden = (parameters - width) // (2 * width + 3)
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, width)
    )
    with torch.no_grad():
        begin_identity(layers, torch.eye(width), torch.eye(width), generator)
        add_prototypes(layers, inputs, generator)
    return layers


def train(model: nn.Module, config: TrainConfig, rows: Pairs) -> None:
    """Trains a module on ``rows`` as the trainer trains a flow model with ``config``."""
    optimiser = Optimiser(model, config.optimiser)
    size = config.batch.rows
    steps = config.length.steps or math.ceil(len(rows) // size * (config.length.epochs or 0.0))
    for step in range(steps):
        batch = batch_rows(len(rows), size, config.seed, step)
        told = losses.terms(config.losses, _answers(model, config, rows, batch))
        losses.total(config.losses, told).backward()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in model.parameters() if p.grad is not None]
        )
        rate = value_at(config.schedule.learning_rate, config.optimiser.learning_rate, step, steps)
        optimiser.step(rate, float(norm))


def _answers(
    model: nn.Module, config: TrainConfig, rows: Pairs, batch: NDArray[np.int64]
) -> losses.Answers:
    assert config.losses.info_nce is not None
    targets = Targets(rows, batch, config.losses.info_nce.negatives, torch.device("cpu"))
    return losses.Answers(
        embedding_BE=model(torch.from_numpy(rows.inputs[batch])),
        target_BE=torch.from_numpy(rows.targets[batch]),
        # A loss on surfaces would need flows.
        surface_BS=torch.empty(0),
        energies=nn.Identity(),
        candidates_KE=targets.candidates_KE,
        own_B=targets.own_B,
        same_BK=targets.same_BK,
    )


def predicted(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a module makes of all rows at once."""
    with torch.inference_mode():
        told: NDArray[np.float32] = model(torch.from_numpy(inputs)).numpy()
    return told


def ridge(rows: Pairs, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ridge regression makes of ``inputs``: the least of |XW - Y|² + λ |W|²."""
    x, y = rows.inputs.astype(np.float64), rows.targets.astype(np.float64)
    weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
    return (inputs @ weights).astype(np.float32)
