"""Small configs and weights, some of them made so that a run can be worked out by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .results import ReferenceSample
from .simulator import simulate

Weights = dict[str, npt.NDArray[np.float32]]

SMALL: dict[str, Any] = {
    "lattice_width": 2,
    "lattice_height": 2,
    "lattice_depth": 10,
    "embedding_dim": 3,
    "mapper_hidden_dim": 4,
    "neuron_hidden_dim": 4,
    "neuron_output_dim": 3,
    "carrier_hidden_size": 4,
    "carrier_num_layers": 1,
    "precision": "float32",
    "displacement_scale": 1.0,
    "max_displacement": 0.5,
    "noise_std": 0.0,
    "noise_on_z": True,
    "boundary": "reflect",
    "min_displacement": 0.0,
    "projection_age": None,
    "max_steps": None,
    "spawn": {"mode": "off", "threshold": 0.25, "percentile": 95.0, "max_children": 1},
    "max_active_flows": None,
    "convergence": {
        "enabled": False,
        "threshold": 0.8,
        "min_steps": 1,
        "window": 2,
        "patience": 2,
        "min_improvement": 0.01,
    },
    "aggregation_mode": "weighted_v2",
    "trace": {"capacity": 4096, "keep": "latest", "kinds": ["spawn", "reflect", "terminate"]},
    "deterministic": False,
    "batch_invariant": True,
    "seed": 0,
    "model_seed": 0,
    "coord_version": 2,
}


def make_config(**changes: Any) -> dict[str, Any]:
    """SMALL with changes; a group's fields are written as `spawn__mode`."""
    config = copy.deepcopy(SMALL)
    for name, value in changes.items():
        group, _, field = name.partition("__")
        if field:
            assert field in config[group]
            config[group][field] = value
        else:
            assert group in config
            config[group] = value
    return config


def random_weights(config: dict[str, Any], seed: int = 0, spread: float = 0.4) -> Weights:
    """Tensors of the right names and shapes, all normal with the given spread."""
    width, height = config["lattice_width"], config["lattice_height"]
    embedding, mapper = config["embedding_dim"], config["mapper_hidden_dim"]
    inner, neuron = config["neuron_hidden_dim"], config["neuron_output_dim"]
    carrier, cells = config["carrier_hidden_size"], width * height
    shapes: dict[str, tuple[int, ...]] = {
        "input_mapper.energy_scale": (1,),
        "input_mapper.energy_bias": (1,),
        "input_mapper.positional_encoding": (height, width),
        "output_mapper.position_weights": (height, width),
    }
    for name, outputs, inputs in (
        ("input_mapper.layers.0", mapper, embedding),
        ("input_mapper.layers.3", cells, mapper),
        ("neuron.layers.0", inner, 4),
        ("neuron.layers.3", inner, inner),
        ("neuron.layers.6", neuron, inner),
        ("carrier.energy_head.0", carrier // 2, carrier),
        ("carrier.energy_head.2", 1, carrier // 2),
        ("carrier.displacement_head.0", 64, carrier),
        ("carrier.displacement_head.2", 3, 64),
        ("output_mapper.layers.0", mapper, cells),
        ("output_mapper.layers.3", embedding, mapper),
    ):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)
    for name, size in (
        ("input_mapper.layers.2", mapper),
        ("neuron.layers.1", inner),
        ("neuron.layers.4", inner),
        ("output_mapper.layers.2", mapper),
    ):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size,), (size,)
    for layer in range(config["carrier_num_layers"]):
        inputs = neuron + 1 if layer == 0 else carrier
        shapes[f"carrier.gru.weight_ih_l{layer}"] = (3 * carrier, inputs)
        shapes[f"carrier.gru.weight_hh_l{layer}"] = (3 * carrier, carrier)
        shapes[f"carrier.gru.bias_ih_l{layer}"] = (3 * carrier,)
        shapes[f"carrier.gru.bias_hh_l{layer}"] = (3 * carrier,)
    generator = np.random.default_rng(seed)
    return {
        name: (spread * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def drifting_weights(
    config: dict[str, Any], drift: tuple[float, float, float], energy: float = 0.5
) -> Weights:
    """Every flow proposes the same displacement and the same energy in every step."""
    weights = random_weights(config)
    weights["carrier.displacement_head.2.weight"][:] = 0
    weights["carrier.displacement_head.2.bias"][:] = drift
    weights["carrier.energy_head.2.weight"][:] = 0
    weights["carrier.energy_head.2.bias"][:] = math.atanh(energy)
    return weights


def drift(config: dict[str, Any], x: float, y: float, z: float, **more: Any) -> ReferenceSample:
    """One sample whose flows all drift by (x, y, z)."""
    embeddings = np.ones((1, config["embedding_dim"]))
    return simulate(config, drifting_weights(config, (x, y, z), **more), embeddings, seed=0)[0]
