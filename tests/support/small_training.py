"""A training that takes a fraction of a second a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.start import model_of
from energy_flow.training.store import TrainingStore
from tests.support.small_model import CELLS, SMALL

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


LATTICE: Mapping[str, Any] = {
    "model.config": {
        "lattice_width": 4,
        "lattice_height": 4,
        "lattice_depth": 4,
        "neuron_hidden_dim": 16,
        "neuron_output_dim": 16,
        "carrier_hidden_size": 16,
        "carrier_num_layers": 1,
        "mapper": "identity",
        "output_planes": "both",
        "energy_update": "residual",
        "aggregation_mode": "splat",
        "max_steps": 4,
        "projection_age": 4,
        "noise_std": 0.0,
        "spawn.mode": "off",
        "convergence.enabled": False,
    },
    "model.initial": {"displacement_head": 0.1, "energy_head": "zero"},
    "data.held_out": 0.2,
    "losses.r2.weight": 1.0,
    "optimiser.learning_rate": 1e-2,
    "batch.rows": 32,
    "length.steps": 6,
    "validation.every": 10,
    "early_stopping.metric": "r2",
}
"""A model whose inputs are the energies of its flows, and whose outputs are the two exit planes."""


def lattice_config(**fields: Any) -> TrainConfig:
    """Return a config for :func:`lattice_pairs`; dots in names are written as two underscores."""
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    return TrainConfig.from_dict(LATTICE, changes)


def lattice_pairs(rows: int = 64, seed: int = 0) -> Pairs:
    """Return rows whose targets are the negative inputs at z0 and the positive ones at zdepth."""
    inputs = np.random.default_rng(seed).standard_normal((rows, CELLS)).astype(np.float32)
    return Pairs.of(inputs, np.concatenate((np.minimum(inputs, 0), np.maximum(inputs, 0)), axis=1))


def lattice_trainer(rows: int = 64, **fields: Any) -> Trainer:
    """Return a trainer on :func:`lattice_pairs`, before its first step."""
    config, made = lattice_config(**fields), lattice_pairs(rows)
    return Trainer(config, model_of(config, made.width, target_width=made.target_width), made)


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
