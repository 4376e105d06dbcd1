"""A training that takes a fraction of a second a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.start import model_of
from energy_flow.training.store import TrainingStore
from tests.support.small_model import SMALL

WIDTH = int(SMALL["embedding_dim"])

TINY: Mapping[str, Any] = {
    "model.config": {
        **SMALL,
        "max_steps": 5,
        "projection_age": 4,
        "noise_std": 0.35,
        "spawn.threshold": 0.2,
        "convergence.enabled": False,
    },
    "data.held_out": 0.25,
    "losses.cosine.weight": 1.0,
    "optimiser.learning_rate": 5e-3,
    "batch.rows": 8,
    "length.steps": 6,
    "validation.every": 2,
    "checkpoints.every": 2,
}


def training_config(**fields: Any) -> TrainConfig:
    """Return a config for :func:`pairs`; dots in names are written as two underscores."""
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    return TrainConfig.from_dict(TINY, changes)


def pairs(rows: int = 32, seed: int = 0) -> Pairs:
    """Return rows whose targets are their inputs after a fixed rotation."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((rows, WIDTH)).astype(np.float32)
    rotation = np.linalg.qr(np.random.default_rng(99).standard_normal((WIDTH, WIDTH)))[0]
    return Pairs.of(inputs, (inputs @ rotation).astype(np.float32))


def tiny_trainer(
    store: TrainingStore | None = None, val: Pairs | None = None, **fields: Any
) -> Trainer:
    """Return a trainer before its first step."""
    config = training_config(**fields)
    return Trainer(config, model_of(config, WIDTH), pairs(), val=val, store=store)
