"""A run of one part of a batch, with gradients: the same steps as inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.flow_processor import FlowProcessor
from energy_flow.metrics import Counters
from energy_flow.step import Observer

QUIET: Mapping[str, Any] = {"trace.capacity": 0}


@dataclass(frozen=True, slots=True)
class Unrolled:
    """What a run left behind.

    Attributes:
        embedding: [B, E]. surface: [B, S]. hits: int64 [B, P, S].
        counters: of the run. peak_flows: most that were active at once.
    """

    embedding: Tensor
    surface: Tensor
    hits: Tensor
    counters: Counters
    peak_flows: int


def unroll(
    processor: FlowProcessor,
    inputs: NDArray[np.float32],
    options: Mapping[str, Any],
    seed: int,
    sample_keys: list[int],
    observe: Observer | None = None,
) -> Unrolled:
    """Runs a part of a batch to its end; it carries gradients where the processor is training.

    Args:
        inputs: [B, E]. options: run-time fields, nested or dotted.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite.
    """
    state = processor.start(
        inputs, options={**options, **QUIET}, seed=seed, sample_keys=sample_keys
    )
    (cohort,) = state.cohorts
    peak = state.active_flows
    while state.active_flows:
        state = processor.step(state, observe)
        if cohort.failure is not None:
            raise cohort.failure
        peak = max(peak, state.active_flows)
    result = processor.finish(state, cohort, ("embedding", "surface", "hits"))
    return Unrolled(
        embedding=torch.as_tensor(result.outputs["embedding"]),
        surface=torch.as_tensor(result.outputs["surface"]).flatten(1),
        hits=torch.as_tensor(result.outputs["hits"]).flatten(2),
        counters=result.metrics.counters,
        peak_flows=peak,
    )
