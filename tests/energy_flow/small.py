"""A small model, weights that make a run easy to work out, and a look at results bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow import FlowConfig, FlowProcessor, SimulationResult
from energy_flow.simulation.pool import Cohort, FlowState
from tests.reference.cases import drifting_weights, random_weights

SMALL: Mapping[str, Any] = {
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 4,
    "embedding_dim": 8,
    "mapper_hidden_dim": 16,
    "neuron_hidden_dim": 8,
    "neuron_output_dim": 8,
    "carrier_hidden_size": 16,
    "carrier_num_layers": 1,
}
CELLS = 16
OUTPUTS = ("surface", "planes", "hits", "embedding")

LIVELY: Mapping[str, Any] = {
    "max_steps": 9,
    "projection_age": 6,
    "noise_std": 0.2,
    "spawn.threshold": 0.1,
    "spawn.max_children": 2,
    "convergence.enabled": False,
}
"""Options of a run in which everything happens."""

QUIET: Mapping[str, Any] = {
    "noise_std": 0.0,
    "spawn.mode": "off",
    "convergence.enabled": False,
}
"""Options of a run in which flows only move."""


def small_config(**fields: Any) -> FlowConfig:
    """A small config; a group is given as a mapping of its fields."""
    return FlowConfig.from_dict({**SMALL, **fields})


@cache
def untrained() -> FlowProcessor:
    """The small model as it is drawn; tests must leave its weights alone."""
    return FlowProcessor(small_config())


@cache
def varied() -> FlowProcessor:
    """A small model whose flows go very different ways; tests must leave its weights alone."""
    return with_weights(small_config(), random_weights(small_config().to_dict(), seed=5))


def with_weights(config: FlowConfig, weights: Mapping[str, NDArray[np.float32]]) -> FlowProcessor:
    """A processor with these tensors."""
    processor = FlowProcessor(config)
    processor.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return processor


def drifting(x: float, y: float, z: float, energy: float = 0.5) -> FlowProcessor:
    """A small model that proposes one displacement and one energy for every flow and step.

    Its config leaves proposals of up to 2 on each axis as they are, and is otherwise quiet. There
    is one such model, so that its block heights are tried once: it drifts as the last call said.
    """
    processor = _still()
    weights = drifting_weights(processor.config.to_dict(), (x, y, z), energy)
    processor.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return processor


@cache
def _still() -> FlowProcessor:
    return FlowProcessor(small_config(displacement_scale=1.0, max_displacement=2.0).replace(QUIET))


def embeddings(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Random embeddings of the small model."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, int(SMALL["embedding_dim"]))).astype(np.float32)


def run_to_end(processor: FlowProcessor, state: FlowState) -> FlowState:
    """Steps until no flow is active."""
    while state.active_flows:
        state = processor.step(state)
    return state


def finished(processor: FlowProcessor, state: FlowState, cohort: Cohort) -> SimulationResult:
    """A cohort's result with every output."""
    return processor.finish(state, cohort, OUTPUTS)


def bits(result: SimulationResult, row: int) -> dict[str, bytes]:
    """Everything a result says of one sample, as bytes; its row in the request left out."""
    sample = result.samples[row]
    counters = sample.counters
    told = {name: np.ascontiguousarray(value[row]) for name, value in result.outputs.items()}
    records = result.trace.select(sample=sample.sample).columns
    told |= {f"trace {name}": records[name] for name in records if name != "sample"}
    told |= {"counts": counters.counts, "sums": counters.sums, "steps": np.array(counters.steps)}
    for name in ("total", "recorded", "dropped"):
        told[f"trace {name}"] = np.ascontiguousarray(getattr(result.trace.counters, name)[row])
    return {name: value.tobytes() for name, value in told.items()}


def differing(mine: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Names of what differs in any bit."""
    assert mine.keys() == other.keys()
    return [name for name in mine if mine[name] != other[name]]
