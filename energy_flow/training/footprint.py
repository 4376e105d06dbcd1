"""``TrainFootprint``: how much memory a training needs at most, from shapes alone.

What a step keeps for its backward pass is a column over flows, and the config bounds the number of
flows of a sample at each step. A training seldom needs that much, because most flows leave early.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from energy_flow.choices import (
    AggregationMode,
    BackPropagationMode,
    MapperKind,
    Negatives,
    Precision,
    SpawnMode,
)
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import ConfigError, Fault
from energy_flow.model.carrier import HEAD_WIDTH
from energy_flow.model.linear import padded_width
from energy_flow.runtime.device import product_dtype
from energy_flow.simulation.footprint import STEP_BYTES, footprint
from energy_flow.simulation.model_footprint import parameter_count
from energy_flow.training.config import TrainConfig
from energy_flow.training.gradient_modes import GRADIENT_MODES, FlowBytes

REAL_BYTES = 4
RULES_BYTES = 320
"""Bytes that the rules of a step keep of one flow: clamps, folds, lengths, scores, indices."""
DEPOSIT_BYTES = 360
"""Bytes that soft deposition keeps of one score: its shares of cells and planes, and their sums."""
FRAGMENTATION = 1.2
"""Memory of the host's allocator by the size of tensors that stay among others that do not."""
SUGGESTED_STEPS = 2
"""Window of the truncated mode for which a message states the memory."""


@dataclass(frozen=True, slots=True)
class TrainFootprint:
    """Bytes of a training while it computes a part of a batch.

    Attributes:
        weights: parameters, gradients, moments and packed copies.
        graph: what the steps keep for their backward pass.
        workspace: what one step needs besides, forward or backward.
        batch: activations of the mappers, candidates, and the rows themselves.
    """

    weights: int
    graph: int
    workspace: int
    batch: int

    @property
    def total(self) -> int:
        """Sum of all kinds."""
        return self.weights + self.graph + self.workspace + self.batch


def max_flows_by_step(config: FlowConfig) -> list[int]:
    """Return the largest number of flows of a sample at each of its steps.

    Args:
        config: config of the run.
    """
    spawns = config.spawn.mode is not SpawnMode.OFF
    growth = 1 + config.spawn.max_children if spawns else 1
    # Without children no flow is younger than the initial ones, which end together.
    steps = config.step_limit if spawns else min(config.step_limit, config.age_limit)
    flows = [config.surface_cells]
    while len(flows) < steps:
        flows.append(min(flows[-1] * growth, config.active_limit))
    return flows


def train_footprint(
    config: TrainConfig, model: FlowConfig, pairs: int, device: torch.device
) -> TrainFootprint:
    """Return the largest memory of a training.

    Args:
        config: config of the training.
        model: config of its runs.
        pairs: number of rows of data in memory.
        device: device that it computes on.
    """
    dtype = torch.bfloat16 if model.precision is Precision.BFLOAT16 else torch.float32
    real, product = dtype.itemsize, product_dtype(dtype, device).itemsize
    size, layers = model.carrier_hidden_size, model.carrier_num_layers
    samples = config.batch.rows // config.batch.accumulation
    flows = [samples * count for count in max_flows_by_step(model)]
    activations = 4 * layers * padded_width(size) * product
    activations += padded_width(size // 2 + HEAD_WIDTH) * REAL_BYTES
    kept = FlowBytes(layers * size * real, RULES_BYTES, activations)
    mode = GRADIENT_MODES[config.back_propagation.mode]
    graph = mode.graph_bytes(flows, kept, config.back_propagation.steps or 1)
    if model.aggregation_mode is AggregationMode.SPLAT:
        # A flow scores once; children may replace all flows in any step.
        scores = flows[0] if model.spawn.mode is SpawnMode.OFF else sum(flows)
        graph += scores * DEPOSIT_BYTES
    run = footprint(model, 0, device=device)
    parameters = parameter_count(model)
    widths = model.embedding_dim + model.surface_cells + model.mapped_cells + model.output_width
    mapped = 2 * widths + (8 * model.mapper_hidden_dim if model.mapper is MapperKind.MLP else 0)
    return TrainFootprint(
        # Besides what a run has: gradients, two moments, weights packed for gradients, and the
        # sums of those in one step and in all of them; twice the packing where it rounds.
        weights=run.weights + (8 if real == REAL_BYTES else 12) * parameters * REAL_BYTES,
        graph=int(FRAGMENTATION * graph),
        workspace=run.workspace + max(flows) * (2 * kept.state + STEP_BYTES + _neuron_bytes(model)),
        batch=samples * mapped * REAL_BYTES + _data_bytes(config, model, pairs, samples),
    )


def _neuron_bytes(model: FlowConfig) -> int:
    """Return the bytes of the neuron's activations of one flow, with their gradients."""
    return 12 * padded_width(model.neuron_hidden_dim + 2) * REAL_BYTES


def _data_bytes(config: TrainConfig, model: FlowConfig, pairs: int, samples: int) -> int:
    """Return the bytes of the rows, and of the candidates with their scores."""
    # Twice: as they were read, and split.
    data = 2 * pairs * (model.embedding_dim + model.output_width) * REAL_BYTES
    if config.losses.info_nce is None:
        return data
    has_all = config.losses.negatives is Negatives.TRAIN
    candidates = pairs if has_all else config.batch.rows
    return data + candidates * (2 * model.output_width + 4 * samples) * REAL_BYTES


def require_fit(
    config: TrainConfig,
    model: FlowConfig,
    pairs: int,
    limit_bytes: int,
    device: torch.device,
) -> None:
    """Refuse a training that may need more memory than allowed.

    Args:
        config: config of the training.
        model: config of its runs.
        pairs: number of rows of data in memory.
        limit_bytes: memory that it may need.
        device: device that it computes on.

    Raises:
        ConfigError: with the bytes of each kind, and the gradient modes that would fit.
    """
    needed = train_footprint(config, model, pairs, device)
    if needed.total <= limit_bytes:
        return
    fitting = [
        name
        for name, settings in _other_modes().items()
        if train_footprint(
            config.replace({"back_propagation": settings}), model, pairs, device
        ).total
        <= limit_bytes
    ]
    modes = f"set back_propagation.mode to {' or '.join(fitting)}, " if fitting else ""
    raise ConfigError(
        Fault(
            ("batch", "accumulation"),
            f"a part of a batch may need {needed.total:,} bytes and {limit_bytes:,} are allowed; "
            f"{modes}raise batch.accumulation, or lower max_active_flows, max_steps or the lattice",
            {
                "graph_bytes": needed.graph,
                "weights_bytes": needed.weights,
                "workspace_bytes": needed.workspace,
                "batch_bytes": needed.batch,
                "limit_bytes": limit_bytes,
            },
        )
    )


def _other_modes() -> dict[str, dict[str, BackPropagationMode | int | None]]:
    """Return settings of every gradient mode, by what a message calls them."""
    return {
        f"{name} with {SUGGESTED_STEPS} steps" if mode.takes_steps else name.value: {
            "mode": name,
            "steps": SUGGESTED_STEPS if mode.takes_steps else None,
        }
        for name, mode in GRADIENT_MODES.items()
    }
