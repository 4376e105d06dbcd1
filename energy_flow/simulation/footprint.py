"""How much memory a run needs, computed from its config alone.

A pool holds columns over flows, samples and trace records, so its bytes follow from shapes.
Nothing is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from energy_flow.choices import Output, Precision, TraceKeep
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import ConfigError, Fault
from energy_flow.simulation.model_footprint import CPU, loaded_bytes, workspace_bytes
from energy_flow.simulation.tally.outputs import sample_bytes
from energy_flow.simulation.tally.tally import Tally
from energy_flow.trace.ring import RECORD_BYTES

SPILLED_BYTES = 55
"""Bytes of one trace record in columns on the host."""
FLOW_BYTES = 5 * 8 + 5 * 4 + 8
"""Bytes of one flow in the columns: three ids, age and source row; position, energy, path."""
STEP_BYTES = 1200
"""Bytes of one flow in a step's temporary columns: masks, ranks, noise words, sums."""
HIDDEN_STATES = 3
"""Copies of the hidden state: two that alternate, and one from before the pool grew."""
SAMPLE_BYTES = 400
"""Bytes of one sample in the option and progress columns."""
TALLY_BYTES = Tally.cell_bytes(torch.float32)
"""Bytes of the running sums of one surface cell."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a model and of samples in a pool, on the device but for ``host``.

    Attributes:
        weights: parameters and their packed copies.
        workspace: temporary blocks of the networks.
        state: flow columns, hidden states, tally, inputs and outputs of the samples when each of
            them holds the largest number of flows.
        trace: rings of the samples.
        spilled: the most that lossless rings write out; 0 where the host's memory is another one.
        host: the same where the host's memory is another one.
    """

    weights: int
    workspace: int
    state: int
    trace: int
    spilled: int = 0
    host: int = 0

    @property
    def samples(self) -> int:
        """Bytes of the samples alone, on the device."""
        return self.state + self.trace + self.spilled

    @property
    def total(self) -> int:
        """Sum of all parts on the device."""
        return self.weights + self.workspace + self.samples


@lru_cache(maxsize=1024)
def footprint(
    config: FlowConfig,
    samples: int,
    flows_per_sample: int | None = None,
    device: torch.device = CPU,
) -> Footprint:
    """Return the bytes of a model and of samples in a pool; cached, because it is needed often.

    Args:
        config: of the run.
        samples: how many are in the pool at once.
        flows_per_sample: active flows of each; by default as many as a sample may hold.
        device: where the pool is.
    """
    flows = config.active_limit if flows_per_sample is None else flows_per_sample
    real = 2 if config.precision is Precision.BFLOAT16 else 4
    hidden = config.carrier_num_layers * config.carrier_hidden_size
    cells = config.surface_cells
    flow_bytes = HIDDEN_STATES * hidden * real + FLOW_BYTES + STEP_BYTES
    # With the copies while samples enter and leave.
    inputs = 2 * 4 * config.embedding_dim
    outputs = sample_bytes(Output, config) + 4 * config.output_width
    tally = 2 * TALLY_BYTES * cells
    # The fields, and a copy while samples enter or leave.
    tally += 2 * 4 * config.sensing.width * cells
    per_sample = flows * flow_bytes + tally + inputs + outputs + SAMPLE_BYTES
    spilled = samples * _spilled_records(config) * SPILLED_BYTES
    on_host = device.type == "cpu"
    return Footprint(
        weights=loaded_bytes(config),
        workspace=workspace_bytes(config, device),
        state=samples * per_sample,
        trace=samples * config.ring_records * RECORD_BYTES,
        spilled=spilled if on_host else 0,
        host=0 if on_host else spilled,
    )


def _spilled_records(config: FlowConfig) -> int:
    """Return the most records that a lossless sample can write out in all its steps."""
    if config.trace.keep is not TraceKeep.LOSSLESS or not config.ring_records:
        return 0
    return 3 * config.active_limit * config.step_limit


def require_fit(
    config: FlowConfig,
    limit_bytes: int,
    device: torch.device = CPU,
    host_limit_bytes: int | None = None,
) -> None:
    """Refuse a config of which not even one sample fits.

    Args:
        config: of the run.
        limit_bytes: memory that may be used.
        device: whose memory it is.
        host_limit_bytes: memory of the host that may be used, where that is another one; no limit
            if none.

    Raises:
        ConfigError: it does not fit; the fault holds the bytes of state, trace and weights.
    """
    needed = footprint(config, 1, device=device)
    if host_limit_bytes is not None and needed.host > host_limit_bytes:
        raise ConfigError(
            Fault(
                ("trace", "keep"),
                f"the records of one sample may need {needed.host:,} bytes of the host and "
                f"{host_limit_bytes:,} are allowed; keep the latest, or lower max_steps or "
                "max_active_flows",
                {"host_bytes": needed.host, "limit_bytes": host_limit_bytes},
            )
        )
    if needed.total > limit_bytes:
        raise ConfigError(
            Fault(
                ("max_active_flows",),
                f"one sample needs {needed.total:,} bytes and {limit_bytes:,} are allowed; lower "
                "max_active_flows, trace.capacity, the lattice, the hidden size or the width of "
                "embeddings",
                {
                    "state_bytes": needed.state,
                    "trace_bytes": needed.trace,
                    "weights_bytes": needed.weights,
                    "workspace_bytes": needed.workspace,
                    "limit_bytes": limit_bytes,
                },
            )
        )
