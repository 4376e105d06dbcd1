"""What is simulated: real sentence embeddings, and models that take them."""

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
    """The bundled embeddings, [256, 384]."""
    return load_file(DATA)["inputs"].astype(np.float32)


def embeddings(rows: int, first: int = 0) -> NDArray[np.float32]:
    """``rows`` real embeddings, starting again from the beginning where they run out."""
    held = all_embeddings()
    return held[np.arange(first, first + rows) % len(held)]


def config(name: str, changes: Mapping[str, Any] | None = None) -> FlowConfig:
    """A preset for these embeddings."""
    return preset(name).replace({"embedding_dim": all_embeddings().shape[1], **(changes or {})})


def processor(name: str, device: str, changes: Mapping[str, Any] | None = None) -> FlowProcessor:
    """An untrained model of a preset."""
    return FlowProcessor(config(name, changes), device=device)


def shape(of: FlowConfig) -> dict[str, Any]:
    """What of a config decides over speed, as plain JSON data."""
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
