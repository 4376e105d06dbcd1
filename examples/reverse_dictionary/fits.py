"""``Fit``: a model trained at one or several learning rates, and what the best one predicts.

Flow model and peers have the same rows, batches, losses, optimiser, schedule and early stopping.
Validations on the held-out rows choose the best weights of a training, and then the best rate.

Shape legend: R rows to predict, E embedding width, O output embedding width, S surface cells.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import count, predict
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

from energy_flow import FlowProcessor, checkpoint
from energy_flow.training import TrainConfig
from energy_flow.training.candidates import Candidates
from energy_flow.training.data import Pairs, batch_rows
from energy_flow.training.losses import Predictions
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.retrieval import retrieval
from energy_flow.training.schedules import value_at
from energy_flow.training.start import from_files

ROWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Trial:
    """One training.

    Attributes:
        rate: highest learning rate.
        steps: optimiser steps that were done.
        seconds: of all optimiser steps; validations do not count.
        cosine: on the held-out rows, of the best weights.
        best_step: after which these were found.
    """

    rate: float
    steps: int
    seconds: float
    cosine: float
    best_step: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A model at the learning rate that is best on the held-out rows.

    Attributes:
        parameters: number of weights.
        trials: one for each learning rate.
        predictions: float32 [R, O].
    """

    parameters: int
    trials: list[Trial]
    predictions: NDArray[np.float32]

    @property
    def best(self) -> Trial:
        """The trial that is best on the held-out rows."""
        return max(self.trials, key=lambda trial: trial.cosine)

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
        return cls(rest["parameters"], [Trial(**trial) for trial in rest["trials"]], predictions)


def fit_flows(config: TrainConfig, folder: Path, inputs: NDArray[np.float32]) -> Fit:
    """Return what a flow model predicts, which is trained unless the folder has it.

    Args:
        config: of its training.
        folder: where the training is kept, as `energy-flow train` keeps it.
        inputs: embeddings to predict, [R, E].
    """
    log = folder / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not events or events[-1]["kind"] != "end":
        for event in from_files(config, folder, resume=True).run():
            if event["kind"] == "validation":
                print(
                    f"seed {config.seed}, step {event['step']}: cosine {event['cosine']:.4f} "
                    "on the held-out rows",
                    flush=True,
                )
        events = [json.loads(line) for line in log.read_text().splitlines()]
    processor = checkpoint.load(folder / "model.safetensors")
    best = events[-1]["held_out"]
    trial = Trial(
        rate=config.optimiser.learning_rate,
        steps=events[-1]["step"],
        seconds=sum(event["seconds"] for event in events if event["kind"] == "step"),
        cosine=best["cosine"],
        best_step=best["step"],
    )
    return Fit(count(processor), [trial], predict_with_flows(processor, inputs))


def fit_peer(
    make: Callable[[], nn.Module],
    configs: Sequence[TrainConfig],
    train: Pairs,
    held_out: Pairs,
    inputs: NDArray[np.float32],
) -> Fit:
    """Return what a peer predicts.

    Args:
        make: returns the untrained peer.
        configs: of its trainings, which differ in the learning rate.
        train: pairs to train on.
        held_out: pairs to choose by.
        inputs: embeddings to predict, [R, E].
    """
    trained = [_train_peer(make(), config, train, held_out) for config in configs]
    _, model = max(trained, key=lambda one: one[0].cosine)
    return Fit(count(model), [trial for trial, _ in trained], predict(model, inputs))


def predict_with_flows(
    processor: FlowProcessor, inputs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the predictions of a flow model, [R, O].

    Args:
        processor: the model.
        inputs: embeddings, [R, E].
    """
    parts = [
        processor.simulate(
            inputs[first : first + ROWS_AT_ONCE],
            outputs=("embedding",),
            options={"trace.capacity": 0},
        ).outputs["embedding"]
        for first in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _train_peer(
    model: nn.Module, config: TrainConfig, train: Pairs, held_out: Pairs
) -> tuple[Trial, nn.Module]:
    """Train a peer as ``Trainer`` trains a flow model."""
    optimiser, stopping = Optimiser(model, config.optimiser), config.early_stopping
    steps, rate = config.length.steps, config.optimiser.learning_rate
    assert steps is not None
    step, stale, seconds = 0, 0, 0.0
    best, best_step, best_weights = -1.0, 0, model.state_dict()
    while step < steps and stale < (stopping.patience or steps):
        began = time.perf_counter()
        rows = batch_rows(len(train), config.batch.rows, config.seed, step)
        values = config.losses.values(_predictions(model, config, train, rows))
        config.losses.total(values).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        optimiser.step(value_at(config.schedule.learning_rate, rate, step, steps), float(norm))
        seconds += time.perf_counter() - began
        step += 1
        if step % config.validation.every == 0 or step == steps:
            cosine = retrieval(predict(model, held_out.inputs), held_out.targets).cosine
            stale += 1
            if cosine > best:
                best, best_step, stale = cosine, step, 0
                best_weights = {name: one.clone() for name, one in model.state_dict().items()}
    model.load_state_dict(best_weights)
    return Trial(rate, step, seconds, best, best_step), model


def _predictions(
    model: nn.Module, config: TrainConfig, train: Pairs, rows: NDArray[np.int64]
) -> Predictions:
    candidates = Candidates(train, rows, config.losses.negatives, torch.device("cpu"))
    return Predictions(
        embedding_BO=model(torch.from_numpy(train.inputs[rows])),
        target_BO=torch.from_numpy(train.targets[rows]),
        target_spread=train.target_spread,
        # Only loss terms of surfaces need these three, and they need flows.
        surface_BS=torch.empty(0),
        planes_BPS=torch.empty(0),
        input_mapper=nn.Identity(),
        **candidates.of_part(np.arange(len(rows))),
    )
