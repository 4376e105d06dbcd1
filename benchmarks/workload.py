"""What benchmarks simulate: real sentence embeddings, and untrained models for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from energy_flow import FlowConfig, FlowProcessor
from energy_flow.config.presets import preset

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "examples" / "data" / "wordnet_256.safetensors"


@cache
def all_embeddings() -> NDArray[np.float32]:
    """Return the bundled embeddings, [256, 384]."""
    return load_file(DATA)["inputs"].astype(np.float32)


def embeddings(rows: int, first: int = 0) -> NDArray[np.float32]:
    """Return real embeddings, [rows, 384]; after the last bundled one, the first follows again.

    Args:
        rows: number of embeddings.
        first: index of the first.
    """
    held = all_embeddings()
    return held[np.arange(first, first + rows) % len(held)]


def config(name: str, changes: Mapping[str, Any] | None = None) -> FlowConfig:
    """Return the config of a preset for these embeddings.

    Args:
        name: name of the preset.
        changes: other values of some fields, nested or dotted.
    """
    return preset(name).replace({"embedding_dim": all_embeddings().shape[1], **(changes or {})})


def processor(name: str, device: str, changes: Mapping[str, Any] | None = None) -> FlowProcessor:
    """Return an untrained model of a preset for these embeddings.

    Args:
        name: name of the preset.
        device: where the model is to be.
        changes: other values of some fields, nested or dotted.
    """
    return FlowProcessor(config(name, changes), device=device)


def shape(of: FlowConfig) -> dict[str, Any]:
    """Return the fields of a config that determine the speed, as plain JSON data.

    Args:
        of: the config.
    """
    return {
        "lattice": [of.lattice_width, of.lattice_height, of.lattice_depth],
        "hidden_size": of.carrier_hidden_size,
        "layers": of.carrier_num_layers,
        "input_width": of.neuron_output_dim + 1,
        "precision": of.precision.value,
        "trace_capacity": of.trace.capacity,
        "batch_invariant": of.batch_invariant,
        "spawn_mode": of.spawn.mode.value,
    }
