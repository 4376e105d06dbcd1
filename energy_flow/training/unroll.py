"""``unroll``: a run of a part of a batch with gradients, by the same steps as inference.

Shape legend: B rows, E embedding width, O output embedding width, S surface cells, P planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.step import Observer
from energy_flow.telemetry.counters import Counters
from energy_flow.training.gradient_modes import GRADIENT_MODES, BackPropagationConfig

UNTRACED: Mapping[str, Any] = {"trace.capacity": 0}
"""Options of a run without a trace."""


@dataclass(frozen=True, slots=True)
class Unrolled:
    """Results of a run that carry gradients.

    Attributes:
        embedding_BO: predictions.
        surface_BS: surfaces that the flows have left.
        planes_BPS: the same of each exit plane alone.
        reached_BPS: whether a score touches a surface cell, by exit plane, bool.
        counters: counters of the run.
    """

    embedding_BO: Tensor
    surface_BS: Tensor
    planes_BPS: Tensor
    reached_BPS: Tensor
    counters: Counters


def unroll(
    processor: FlowProcessor,
    inputs_BE: NDArray[np.float32],
    back_propagation: BackPropagationConfig,
    *,
    options: Mapping[str, Any],
    seed: int,
    sample_keys: list[int],
    observe: Observer | None = None,
) -> Unrolled:
    """Run a part of a batch to its end.

    Args:
        processor: the model, in training.
        inputs_BE: input embeddings.
        back_propagation: what to keep for the backward pass.
        options: run-time fields, nested or dotted.
        seed: seed of the noise.
        sample_keys: keys of the noise, one a row.
        observe: called once for every step.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite.
    """
    mode = GRADIENT_MODES[back_propagation.mode]
    processor.keeps_tapes = mode.keeps_tapes
    state = processor.start(
        inputs_BE, options={**options, **UNTRACED}, seed=seed, sample_keys=sample_keys
    )
    (cohort,) = state.cohorts
    while state.active_flows:
        state = mode.advance(processor, state, back_propagation.steps or 1, observe)
        if cohort.failure is not None:
            raise cohort.failure
    result = processor.finish(state, cohort, ("embedding", "surface", "planes", "reached"))
    # What carries no gradients is on the host.
    output = partial(torch.as_tensor, device=processor.device)
    return Unrolled(
        embedding_BO=output(result.outputs["embedding"]),
        surface_BS=output(result.outputs["surface"]).flatten(1),
        planes_BPS=output(result.outputs["planes"]).flatten(2),
        reached_BPS=output(result.outputs["reached"]).flatten(2),
        counters=result.metrics.counters,
    )
