"""How much memory a training will need at most, from shapes alone.

What a step leaves for its backward pass is a column over flows, and how many flows a sample may
hold at each step follows from the config. A training seldom comes near: flows that leave early are
not there to be remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from energy_flow.config.flow_config import FlowConfig, Precision, SpawnMode
from energy_flow.errors import ConfigError, Fault
from energy_flow.model.carrier import HEAD_WIDTH
from energy_flow.model.linear import padded_width
from energy_flow.runtime.device import product_dtype
from energy_flow.simulation.footprint import FLOW_BYTES, STEP_BYTES, footprint, parameter_count
from energy_flow.training.config import BackPropagation, Negatives, TrainConfig

REAL_BYTES = 4
RULES_BYTES = 320
"""Of what the rules of a step keep of one flow: clamps, folds, lengths, scores, indices."""
GAPS = 1.2
"""What the host's allocator takes for tensors that stay, among others that come and go."""


@dataclass(frozen=True, slots=True)
class TrainFootprint:
    """Bytes of a training while it works on a part of a batch.

    Attributes:
        weights: parameters, gradients, moments and packed copies.
        graph: what the steps keep for their backward pass.
        workspace: what one step needs besides, forward or back.
        batch: mapper activations, targets to tell apart, and the rows themselves.
    """

    weights: int
    graph: int
    workspace: int
    batch: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.graph + self.workspace + self.batch


def flows_at_most(config: FlowConfig) -> list[int]:
    """How many flows a sample may hold at each of its steps."""
    spawns = config.spawn.mode is not SpawnMode.OFF
    growth = 1 + config.spawn.max_children if spawns else 1
    # Without children nobody is younger than the initial flows, who end together.
    steps = config.step_limit if spawns else min(config.step_limit, config.age_limit)
    flows = [config.surface_cells]
    while len(flows) < steps:
        flows.append(min(flows[-1] * growth, config.active_limit))
    return flows


def train_footprint(
    config: TrainConfig, model: FlowConfig, pairs: int, device: torch.device
) -> TrainFootprint:
    """Bytes of a training of a model.

    Args:
        model: the config that its runs have. pairs: rows of data that are held in memory.
        device: that it computes on.
    """
    dtype = torch.bfloat16 if model.precision is Precision.BFLOAT16 else torch.float32
    real, product = dtype.itemsize, product_dtype(dtype, device).itemsize
    size, layers = model.carrier_hidden_size, model.carrier_num_layers
    samples = config.batch.rows // config.batch.accumulation
    flows = [samples * count for count in flows_at_most(model)]
    state = layers * size * real
    tape = 4 * layers * padded_width(size) * product
    tape += padded_width(size // 2 + HEAD_WIDTH) * REAL_BYTES
    kept = state + RULES_BYTES
    match config.back_propagation.mode:
        case BackPropagation.FULL:
            graph = sum(flows) * (kept + tape)
        case BackPropagation.CHECKPOINTED:
            graph = sum(flows) * kept
        case BackPropagation.TRUNCATED:
            steps = config.back_propagation.steps or 1
            windows = [flows[first : first + steps] for first in range(0, len(flows), steps)]
            graph = sum(window[0] for window in windows) * (state + FLOW_BYTES)
            graph += max(map(sum, windows)) * (kept + tape)
    run = footprint(model, 0)
    parameters = parameter_count(model)
    mapped = 8 * model.mapper_hidden_dim + 4 * model.surface_cells + 4 * model.embedding_dim
    return TrainFootprint(
        # Besides what a run has: gradients, two moments, weights packed for gradients, and the
        # sums of those in one step and in all of them; twice the packing where it rounds.
        weights=run.weights + (8 if real == REAL_BYTES else 12) * parameters * REAL_BYTES,
        graph=int(GAPS * graph),
        workspace=run.workspace + max(flows) * (2 * state + STEP_BYTES + _perceived(model)),
        batch=samples * mapped * REAL_BYTES + _compared(config, model, pairs, samples),
    )


def _perceived(model: FlowConfig) -> int:
    """Bytes of the neuron's activations of one flow, with their gradients."""
    return 12 * padded_width(model.neuron_hidden_dim + 2) * REAL_BYTES


def _compared(config: TrainConfig, model: FlowConfig, pairs: int, samples: int) -> int:
    """Bytes of the data, and of the targets that predictions are told apart from."""
    data = 4 * pairs * model.embedding_dim * REAL_BYTES
    term = config.losses.info_nce
    if term is None:
        return data
    candidates = pairs if term.negatives is Negatives.TRAIN else config.batch.rows
    return data + candidates * (2 * model.embedding_dim + 4 * samples) * REAL_BYTES


def require_fit(
    config: TrainConfig,
    model: FlowConfig,
    pairs: int,
    limit_bytes: int,
    device: torch.device,
) -> None:
    """Refuses a training that may not fit.

    Raises:
        ConfigError: with the bytes of each kind, and those of other ways to go back.
    """
    needed = train_footprint(config, model, pairs, device)
    if needed.total <= limit_bytes:
        return
    others = {
        name: train_footprint(
            config.replace({"back_propagation": choice}), model, pairs, device
        ).total
        for name, choice in {
            "full": {"mode": "full", "steps": None},
            "checkpointed": {"mode": "checkpointed", "steps": None},
            "truncated, steps = 2": {"mode": "truncated", "steps": 2},
        }.items()
    }
    fitting = [name for name, total in others.items() if total <= limit_bytes]
    cure = f"back_propagation {' or '.join(fitting)} would fit; or " if fitting else ""
    raise ConfigError(
        Fault(
            ("batch", "accumulation"),
            f"a part of a batch may need {needed.total:,} bytes and {limit_bytes:,} are allowed; "
            f"{cure}raise batch.accumulation, or lower max_active_flows, max_steps or the lattice",
            {
                "graph_bytes": needed.graph,
                "weights_bytes": needed.weights,
                "workspace_bytes": needed.workspace,
                "batch_bytes": needed.batch,
                "limit_bytes": limit_bytes,
            },
        )
    )
