"""``Estimate``: what a run would cost, from its config alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from energy_flow.choices import Output, SpawnMode
from energy_flow.config.flow_config import FlowConfig
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import CPU
from energy_flow.simulation.tally.outputs import sample_bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would cost.

    Attributes:
        flows: number of initial flows.
        predicted_bytes: largest memory that it can need on the device, with the weights.
        flow_steps_bound: largest number of flow-steps that it can need.
        queue_wait_seconds: time until it would start, from the measured rate; 0 before the first
            measurement.
    """

    flows: int
    predicted_bytes: int
    flow_steps_bound: int
    queue_wait_seconds: float

    @classmethod
    def of(
        cls,
        config: FlowConfig,
        samples: int,
        *,
        max_pool_flows: int,
        memory_limit_bytes: int | None,
        queue_wait_seconds: float,
        device: torch.device = CPU,
    ) -> Estimate:
        """Return what a run would cost.

        Args:
            config: config of the run.
            samples: number of its samples.
            max_pool_flows: active flows up to which the pools admit samples.
            memory_limit_bytes: largest predicted memory of the model and of its runs; no limit if
                none.
            queue_wait_seconds: time until the run would start.
            device: where it would be.
        """
        pool_samples = max(1, max_pool_flows // config.surface_cells)
        if memory_limit_bytes is not None:
            one = footprint(config, 1, device=device)
            fitting = (memory_limit_bytes - one.weights - one.workspace) // one.samples
            pool_samples = max(1, min(pool_samples, fitting))
        return cls(
            flows=samples * config.surface_cells,
            predicted_bytes=footprint(config, min(samples, pool_samples), device=device).total,
            flow_steps_bound=flow_steps_bound(config, samples),
            queue_wait_seconds=queue_wait_seconds,
        )


def flow_steps_bound(config: FlowConfig, samples: int) -> int:
    """Return the largest number of flow-steps that a run can need.

    Args:
        config: config of the run.
        samples: number of its samples.
    """
    flows, bound = config.surface_cells, 0
    for step in range(config.step_limit):
        # As many as there can be from here on.
        if flows == config.active_limit or not _spawns(config):
            return samples * (bound + flows * (config.step_limit - step))
        bound += flows
        flows = min(config.active_limit, flows * (1 + config.spawn.max_children))
    return samples * bound


def _spawns(config: FlowConfig) -> bool:
    return config.spawn.mode is not SpawnMode.OFF and config.spawn.max_children > 0


def needed_bytes(
    config: FlowConfig, samples: int, *, streams: bool, device: torch.device = CPU
) -> int:
    """Return the bytes of one sample in the pool, and of all inputs and results if not streamed.

    Args:
        config: config of the run.
        samples: number of its samples.
        streams: whether its results need not all be in memory at once.
        device: where it would be.
    """
    one = footprint(config, 1, device=device)
    if streams:
        return one.total
    embedding = 4 * config.embedding_dim
    return one.total + samples * (embedding + sample_bytes(Output, config) + one.trace)
