"""How much memory a run will need, from shapes alone.

Everything a pool holds is a column over flows, samples or trace records, so its bytes follow from
the config: nothing is allocated to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from energy_flow.config.flow_config import FlowConfig, Keep, Precision
from energy_flow.errors import ConfigError, Fault
from energy_flow.model.networks import STEP_ROWS
from energy_flow.trace.ring import RECORD_BYTES

SPILLED_BYTES = 55
"""Of one trace record in columns on the host."""
FLOW_BYTES = 5 * 8 + 5 * 4 + 8
"""Of the flow columns of one flow: three ids, age and source row; position, energy, path."""
STEP_BYTES = 1200
"""Of the temporary columns of one flow in a step: masks, ranks, noise words, sums."""
HIDDEN_STATES = 3
"""Of the step before and the step now, and one that was there before the pool grew."""
BLOCKS = 3
"""Temporary blocks of the networks at once, and what libraries keep for the shapes of products."""
SAMPLE_BYTES = 400
"""Of the option and progress columns of one sample."""
TALLY_BYTES = 2 * (4 + 4 + 4 + 8)
"""Of the running sums of one surface cell."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a model and of samples in a pool.

    Attributes:
        weights: parameters and their packed copies.
        workspace: temporary blocks of the networks.
        state: flow columns, hidden states, tally, inputs and outputs of the samples when every one
            of them holds as many flows as it may.
        trace: their rings.
        spilled: what lossless rings write out, at most; on the host.
    """

    weights: int
    workspace: int
    state: int
    trace: int
    spilled: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.workspace + self.state + self.trace + self.spilled


@lru_cache(maxsize=1024)
def footprint(config: FlowConfig, samples: int, flows_per_sample: int | None = None) -> Footprint:
    """Bytes of ``samples`` samples at once; remembered, since admission asks over and over.

    Args:
        flows_per_sample: active flows to reckon with; by default as many as a sample may hold.
    """
    flows = config.active_limit if flows_per_sample is None else flows_per_sample
    real = 2 if config.precision is Precision.BFLOAT16 else 4
    hidden = config.carrier_num_layers * config.carrier_hidden_size
    cells = config.surface_cells
    flow_bytes = HIDDEN_STATES * hidden * real + FLOW_BYTES + STEP_BYTES
    outputs = 4 * (config.embedding_dim * 2 + cells * 5)
    tally = 2 * TALLY_BYTES * cells
    per_sample = flows * flow_bytes + tally + outputs + SAMPLE_BYTES
    parameters = parameter_count(config)
    width = 5 * config.carrier_hidden_size + 2 * hidden + config.mapper_hidden_dim
    return Footprint(
        weights=2 * 4 * parameters,
        workspace=BLOCKS * STEP_ROWS["cpu"] * width * 4,
        state=samples * per_sample,
        trace=samples * config.ring_records * RECORD_BYTES,
        spilled=samples * _spilled_records(config) * SPILLED_BYTES,
    )


def _spilled_records(config: FlowConfig) -> int:
    """Most records that a lossless sample can write out in all its steps."""
    if config.trace.keep is not Keep.LOSSLESS or not config.ring_records:
        return 0
    return 3 * config.active_limit * config.step_limit


def parameter_count(config: FlowConfig) -> int:
    """Parameters of the model."""
    cells, wide = config.surface_cells, config.mapper_hidden_dim
    mappers = 2 * (config.embedding_dim * wide + wide * cells + 3 * wide)
    mappers += cells + config.embedding_dim + 2 * cells + 2
    nh, n = config.neuron_hidden_dim, config.neuron_output_dim
    neuron = 5 * nh + nh * (nh + 1) + 4 * nh + n * (nh + 1)
    hc, total = config.carrier_hidden_size, 0
    for layer in range(config.carrier_num_layers):
        inputs = n + 1 if layer == 0 else hc
        total += 3 * hc * (inputs + hc + 2)
    half = hc // 2
    heads = half * (hc + 1) + half + 1 + 64 * (hc + 1) + 3 * 65
    return mappers + neuron + total + heads


def require_fit(config: FlowConfig, limit_bytes: int) -> None:
    """Refuses a config whose single sample cannot fit.

    Raises:
        ConfigError: with the bytes of state, trace and weights.
    """
    needed = footprint(config, 1)
    if needed.total > limit_bytes:
        raise ConfigError(
            Fault(
                ("max_active_flows",),
                f"one sample needs {needed.total:,} bytes and {limit_bytes:,} are allowed; lower "
                "max_active_flows, trace.capacity, the lattice or the hidden size",
                {
                    "state_bytes": needed.state,
                    "trace_bytes": needed.trace,
                    "weights_bytes": needed.weights,
                    "workspace_bytes": needed.workspace,
                    "limit_bytes": limit_bytes,
                },
            )
        )
