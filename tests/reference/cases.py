"""Small configs and weights: drawn at random, or such that a run can be worked out by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .results import ReferenceSample
from .rules import read_rules
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
    "mapper": "mlp",
    "output_dim": None,
    "output_planes": "merged",
    "energy_update": "replace",
    "sensing": "none",
    "precision": "float32",
    "displacement_scale": 1.0,
    "max_displacement": 0.5,
    "field_strength": 0.0,
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
    "background": None,
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


def draw_config(rng: np.random.Generator) -> dict[str, Any]:
    """Any values of all fields that act on a run; the package may refuse the combination."""
    width, height = (int(n) for n in rng.integers(2, 5, 2))
    cells = width * height
    spawn_mode = str(rng.choice(["threshold", "percentile", "off"]))
    mapper = str(rng.choice(["mlp", "linear", "identity"]))
    planes = str(rng.choice(["merged", "both"]))
    mapped = cells * (2 if planes == "both" else 1)
    aggregation = str(rng.choice(["weighted_v2", "legacy", "splat", "splat"]))
    return {
        **SMALL,
        "lattice_width": width,
        "lattice_height": height,
        "lattice_depth": int(rng.integers(2, 9)),
        "embedding_dim": cells if mapper == "identity" else int(rng.integers(2, 6)),
        "carrier_num_layers": int(rng.integers(1, 3)),
        "carrier_hidden_size": int(rng.choice([4, 6, 16])),
        "mapper": mapper,
        "output_dim": _choose(
            rng, None, mapped if mapper == "identity" else int(rng.integers(1, 9))
        ),
        "output_planes": planes,
        "energy_update": str(rng.choice(["replace", "residual"])),
        "sensing": str(rng.choice(["none", "gradient"])),
        "displacement_scale": float(rng.choice([0.1, 0.3, 1.0])),
        "max_displacement": float(rng.choice([0.3, 0.5, 1.7])),
        "field_strength": _choose(rng, 0.0, float(rng.uniform(-2.0, 2.0))),
        "noise_std": float(rng.choice([0.0, 0.1, 0.4])),
        "noise_on_z": bool(rng.integers(2)),
        "boundary": "clamp" if spawn_mode == "off" and rng.integers(2) else "reflect",
        "min_displacement": float(rng.choice([0.0, 0.0, 0.1])),
        "max_steps": _choose(rng, None, int(rng.integers(1, 12))),
        "projection_age": _choose(rng, None, int(rng.integers(1, 12))),
        "spawn": {
            "mode": spawn_mode,
            "threshold": float(rng.choice([0.05, 0.1, 0.2])),
            "percentile": float(rng.choice([10.0, 50.0, 90.0])),
            "max_children": int(rng.integers(1, 4)),
        },
        "max_active_flows": _choose(rng, None, cells + int(rng.integers(5))),
        "convergence": {
            "enabled": bool(rng.integers(2)),
            "threshold": float(rng.choice([0.3, 0.8, 1.0])),
            "min_steps": int(rng.integers(1, 4)),
            "window": int(rng.integers(1, 4)),
            "patience": int(rng.integers(1, 3)),
            "min_improvement": float(rng.choice([0.01, 0.3])),
        },
        "aggregation_mode": aggregation,
        "background": _choose(rng, None, 0.0, 0.05, 1.0) if aggregation == "splat" else None,
        "trace": {
            "capacity": int(rng.choice([0, 7, 30, 4096])),
            "keep": str(rng.choice(["latest", "earliest", "lossless"])),
            "kinds": [kind for kind in ("spawn", "reflect", "terminate") if rng.integers(4)],
        },
    }


def _choose(rng: np.random.Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def random_weights(config: dict[str, Any], seed: int = 0, spread: float = 0.4) -> Weights:
    """Tensors of the right names and shapes, all normal with the given spread."""
    generator = np.random.default_rng(seed)
    return {
        name: (spread * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in _shapes(config).items()
    }


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    rules = read_rules({**config, "precision": "float32"}, seed=0)
    width, height, cells = rules.width, rules.height, rules.cells
    hidden, mapped = rules.mapper_hidden_dim, rules.planes_read * cells
    inner, neuron = rules.neuron_hidden_dim, rules.neuron_output_dim
    carrier = rules.carrier_hidden_size
    surfaces = (height, width) if rules.planes_read == 1 else (2, height, width)
    shapes: dict[str, tuple[int, ...]] = {}
    if rules.mapper == "identity":
        shapes["output_mapper.output_gain"] = shapes["output_mapper.output_bias"] = (
            rules.planes_read,
        )
    else:
        shapes["input_mapper.energy_scale"] = shapes["input_mapper.energy_bias"] = (1,)
        shapes["input_mapper.positional_encoding"] = (height, width)
        shapes["output_mapper.position_weights"] = surfaces
    inward = {
        "mlp": [
            ("input_mapper.layers.0", hidden, rules.embedding_dim),
            ("input_mapper.layers.3", cells, hidden),
        ],
        "linear": [("input_mapper.layers.0", cells, rules.embedding_dim)],
        "identity": [],
    }
    outward = {
        "mlp": [
            ("output_mapper.layers.0", hidden, mapped),
            ("output_mapper.layers.3", rules.output_width, hidden),
        ],
        "linear": [("output_mapper.layers.0", rules.output_width, mapped)],
        "identity": [],
    }
    for name, outputs, inputs in (
        *inward[rules.mapper],
        ("neuron.layers.0", inner, rules.neuron_inputs),
        ("neuron.layers.3", inner, inner),
        ("neuron.layers.6", neuron, inner),
        ("carrier.energy_head.0", carrier // 2, carrier),
        ("carrier.energy_head.2", 1, carrier // 2),
        ("carrier.displacement_head.0", 64, carrier),
        ("carrier.displacement_head.2", 3, 64),
        *outward[rules.mapper],
    ):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)
    for name, size in (
        ("input_mapper.layers.2", hidden),
        ("neuron.layers.1", inner),
        ("neuron.layers.4", inner),
        ("output_mapper.layers.2", hidden),
    ):
        if rules.mapper == "mlp" or name.startswith("neuron"):
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size,), (size,)
    for layer in range(rules.carrier_num_layers):
        inputs = neuron + 1 if layer == 0 else carrier
        shapes[f"carrier.gru.weight_ih_l{layer}"] = (3 * carrier, inputs)
        shapes[f"carrier.gru.weight_hh_l{layer}"] = (3 * carrier, carrier)
        shapes[f"carrier.gru.bias_ih_l{layer}"] = (3 * carrier,)
        shapes[f"carrier.gru.bias_hh_l{layer}"] = (3 * carrier,)
    return shapes


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
