"""A small model, weights whose runs are easy to calculate, and comparison of results bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow import FlowConfig, FlowProcessor, SimulationResult
from energy_flow.choices import Output, names_of
from energy_flow.simulation.cohort import Cohort
from energy_flow.simulation.pool import FlowState
from energy_flow.testing import TINY_FIELDS, tiny_config
from tests.reference.cases import drifting_weights, random_weights

SMALL: Mapping[str, Any] = {**TINY_FIELDS, "neuron_hidden_dim": 8, "neuron_output_dim": 8}
CELLS = 16
OUTPUTS = names_of(Output)

LIVELY: Mapping[str, Any] = {
    "max_steps": 9,
    "projection_age": 6,
    "noise_std": 0.2,
    "spawn.threshold": 0.1,
    "spawn.max_children": 2,
    "convergence.enabled": False,
}
"""Options of a run with every kind of event."""

QUIET: Mapping[str, Any] = {
    "noise_std": 0.0,
    "spawn.mode": "off",
    "convergence.enabled": False,
}
"""Options of a run in which flows only move."""


def small_config(**fields: Any) -> FlowConfig:
    """Return a small config; a group is given as a mapping of its fields."""
    return tiny_config(**{**SMALL, **fields})


@cache
def make_untrained() -> FlowProcessor:
    """Return a small model with initial weights, which tests must not change."""
    return FlowProcessor(small_config())


@cache
def make_varied() -> FlowProcessor:
    """Return a small model with very different flows, whose weights tests must not change."""
    return with_weights(small_config(), random_weights(small_config().to_dict(), seed=5))


MAPPERS: Mapping[str, Mapping[str, Any]] = {
    "mlp of both planes": {"output_planes": "both", "output_dim": 5},
    "linear": {"mapper": "linear", "output_dim": 11},
    "linear of both planes": {"mapper": "linear", "output_planes": "both"},
    "identity": {"mapper": "identity", "embedding_dim": CELLS},
    "identity of both planes": {
        "mapper": "identity",
        "embedding_dim": CELLS,
        "output_planes": "both",
        "sensing": "gradient",
    },
    "mlp with sensing": {"sensing": "gradient"},
}
"""Fields of models with other mappers than the usual ones, and of some that sense."""


@cache
def make_with_mapper(kind: str) -> FlowProcessor:
    """Return a small model of :data:`MAPPERS` with residual energies and soft deposition.

    Args:
        kind: name of the mappers.
    """
    fields = {**MAPPERS[kind], "energy_update": "residual", "aggregation_mode": "splat"}
    config = small_config(**fields)
    return with_weights(config, random_weights(config.to_dict(), seed=6))


def with_weights(config: FlowConfig, weights: Mapping[str, NDArray[np.float32]]) -> FlowProcessor:
    """Return a processor with these weights."""
    processor = FlowProcessor(config)
    processor.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return processor


def make_drifting(x: float, y: float, z: float, energy: float = 0.5) -> FlowProcessor:
    """Return a small model that proposes one displacement and energy for all flows and steps.

    Its config leaves proposals of up to 2 on each axis as they are, and is otherwise quiet. There
    is one such model, so that its block heights are tried once: the last call sets its drift.
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


def step_to_end(processor: FlowProcessor, state: FlowState) -> FlowState:
    """Step until no flow is active."""
    while state.active_flows:
        state = processor.step(state)
    return state


def finish(processor: FlowProcessor, state: FlowState, cohort: Cohort) -> SimulationResult:
    """Return a cohort's result with every output."""
    return processor.finish(state, cohort, OUTPUTS)


def bits(result: SimulationResult, row: int) -> dict[str, bytes]:
    """Return all of a sample's results as bytes, without its row in the request."""
    sample = result.samples[row]
    counters = sample.counters.events
    arrays = {name: np.ascontiguousarray(value[row]) for name, value in result.outputs.items()}
    records = result.trace.select(sample=sample.sample).columns
    arrays |= {f"trace {name}": records[name] for name in records if name != "sample"}
    arrays |= {"counts": counters.counts, "sums": counters.sums, "steps": np.array(counters.steps)}
    for name in ("total", "recorded", "dropped"):
        arrays[f"trace {name}"] = np.ascontiguousarray(getattr(result.trace.counters, name)[row])
    return {name: value.tobytes() for name, value in arrays.items()}


def find_differences(mine: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Return the names of values that differ in any bit."""
    assert mine.keys() == other.keys()
    return [name for name in mine if mine[name] != other[name]]
