"""``Fit``: a model trained at one or several learning rates, and what the best one predicts.

Flow model and peers have the same pictures, batches, loss, optimiser and schedule. Every
30 steps a model is measured on the val pictures; its best weights are kept, and then the best rate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import count, predict, r2
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from energy_flow import FlowProcessor
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs, batch_rows
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.schedules import value_at
from energy_flow.training.start import model_of

ROWS_AT_ONCE = 100
MEASURED_EVERY = 30
"""Optimiser steps between two measurements on the val pictures."""

Report = Callable[[str], None]
"""Is called with a line about the progress."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One training.

    Attributes:
        rate: highest learning rate.
        steps: optimiser steps.
        seconds: of all optimiser steps; measurements do not count.
        val_r2: R² on the val pictures, of the best weights.
        best_step: after which these were found.
    """

    rate: float
    steps: int
    seconds: float
    val_r2: float
    best_step: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A model at the learning rate that is best on the val pictures.

    Attributes:
        parameters: number of weights.
        trials: one for each learning rate.
        predictions: for the test pictures, [N, 2 · S].
        details: other figures, as plain JSON data.
    """

    parameters: int
    trials: list[Trial]
    predictions: NDArray[np.float32]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Trial:
        """The trial that is best on the val pictures."""
        return max(self.trials, key=lambda trial: trial.val_r2)

    def save(self, path: Path, settings: dict[str, Any]) -> None:
        """Write the fit to a file.

        Args:
            path: a .safetensors file.
            settings: what the fit depends on, as plain JSON data.
        """
        rest = {
            "settings": settings,
            "parameters": self.parameters,
            "trials": [asdict(trial) for trial in self.trials],
            "details": self.details,
        }
        unfinished = path.with_suffix(".unfinished")
        save_file({"predictions": self.predictions}, unfinished, {"fit": json.dumps(rest)})
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path, settings: dict[str, Any]) -> Fit | None:
        """Return the fit of a file; none if there is no file, or its settings are others.

        Args:
            path: a .safetensors file.
            settings: what the fit depends on, as plain JSON data.
        """
        if not path.exists():
            return None
        with safe_open(path, framework="np") as file:
            rest = json.loads(file.metadata()["fit"])
            predictions = file.get_tensor("predictions")
        if rest["settings"] != json.loads(json.dumps(settings)):
            return None
        trials = [Trial(**trial) for trial in rest["trials"]]
        return cls(rest["parameters"], trials, predictions, rest["details"])


class BestWeights:
    """The weights of a model that were best on the val pictures so far.

    Args:
        model: the model.

    Attributes:
        val_r2: their R².
        step: after which they were found.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._weights = self._copy()
        self.val_r2, self.step = -float("inf"), 0

    def compare(self, val_r2: float, step: int) -> None:
        """Keep the weights if they are the best so far.

        Args:
            val_r2: R² on the val pictures.
            step: number of optimiser steps done.
        """
        if val_r2 > self.val_r2:
            self.val_r2, self.step = val_r2, step
            self._weights = self._copy()

    def load(self) -> None:
        """Give the best weights back to the model."""
        self._model.load_state_dict(self._weights)

    def _copy(self) -> dict[str, Tensor]:
        return {name: weight.clone() for name, weight in self._model.state_dict().items()}


def fit_flows(
    configs: list[TrainConfig], train: Pairs, val: Pairs, test: Pairs, report: Report
) -> tuple[Fit, FlowProcessor]:
    """Return a flow model, and what it predicts.

    Args:
        configs: of its trainings, which differ in the learning rate.
        train: pictures to train on.
        val: pictures to choose by.
        test: pictures to predict.
        report: is called after every measurement.
    """
    trained = [_train_flows(config, train, val, report) for config in configs]
    trials = [trial for trial, _ in trained]
    _, processor = max(trained, key=lambda one: one[0].val_r2)
    predictions = predict_with_flows(processor, test.inputs)
    return Fit(count(processor), trials, predictions), processor


def fit_peer(
    make: Callable[[], nn.Module], configs: list[TrainConfig], train: Pairs, val: Pairs, test: Pairs
) -> Fit:
    """Return what a peer predicts.

    Args:
        make: returns the untrained peer.
        configs: of its trainings, which differ in the learning rate.
        train: pictures to train on.
        val: pictures to choose by.
        test: pictures to predict.
    """
    trained = [_train_peer(make(), config, train, val) for config in configs]
    trials = [trial for trial, _ in trained]
    _, model = max(trained, key=lambda one: one[0].val_r2)
    return Fit(count(model), trials, predict(model, test.inputs))


def predict_with_flows(
    processor: FlowProcessor, inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the predictions of a flow model, [N, 2 · S].

    Args:
        processor: the model.
        inputs: pictures, [N, S].
    """
    parts = [
        processor.eval()
        .simulate(
            inputs[first : first + ROWS_AT_ONCE],
            outputs=("embedding",),
            options={"trace.capacity": 0},
        )
        .outputs["embedding"]
        for first in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _train_flows(
    config: TrainConfig, train: Pairs, val: Pairs, report: Report
) -> tuple[Trial, FlowProcessor]:
    processor = model_of(config, train.width, target_width=train.target_width)
    trainer = Trainer(config, processor, train)
    best, seconds = BestWeights(processor), 0.0
    for event in trainer.run():
        if event["kind"] != "step":
            continue
        seconds += event["seconds"]
        if _is_measured(trainer.step, trainer.steps):
            val_r2 = r2(predict_with_flows(processor, val.inputs), val.targets)
            best.compare(val_r2, trainer.step)
            report(f"step {trainer.step} of {trainer.steps}, R² on val pictures {val_r2:.3f}")
    best.load()
    rate = config.optimiser.learning_rate
    return Trial(rate, trainer.steps, seconds, best.val_r2, best.step), processor


def _train_peer(
    model: nn.Module, config: TrainConfig, train: Pairs, val: Pairs
) -> tuple[Trial, nn.Module]:
    optimiser, best, seconds = Optimiser(model, config.optimiser), BestWeights(model), 0.0
    size, steps, rate = config.batch.rows, config.length.steps, config.optimiser.learning_rate
    assert steps is not None
    for step in range(steps):
        began = time.perf_counter()
        rows = batch_rows(len(train), size, config.seed, step)
        predictions = model(torch.from_numpy(train.inputs[rows]))
        mse_loss(predictions, torch.from_numpy(train.targets[rows])).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        optimiser.step(value_at(config.schedule.learning_rate, rate, step, steps), float(norm))
        seconds += time.perf_counter() - began
        if _is_measured(step + 1, steps):
            best.compare(r2(predict(model, val.inputs), val.targets), step + 1)
    best.load()
    return Trial(rate, steps, seconds, best.val_r2, best.step), model


def _is_measured(step: int, steps: int) -> bool:
    """Return whether a model is measured on the val pictures after a step."""
    return step % MEASURED_EVERY == 0 or step == steps
