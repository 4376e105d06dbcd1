"""A run of one part of a batch, with gradients: the same steps as inference.

How much of it is kept for the backward pass:

- ``full``: everything.
- ``checkpointed``: hidden states and what the rules need; what the networks computed in between is
  computed again, a block at a time. The gradients are the same, bit by bit.
- ``truncated``: nothing but the state at every ``steps``-th step, where gradients of positions,
  energies and hidden states end. The steps in between are done again, a window at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step import Observer, advance
from energy_flow.telemetry.counters import Counters, StepReport
from energy_flow.telemetry.memory import MemoryProbe
from energy_flow.training.config import BackPropagation, BackPropagationChoice

QUIET: Mapping[str, Any] = {"trace.capacity": 0}
"""Options of a run that nobody traces."""


@dataclass(frozen=True, slots=True)
class Unrolled:
    """What a run left behind.

    Attributes:
        embedding: [B, E]. surface: [B, S]. hits: int64 [B, P, S].
        counters: of the run.
    """

    embedding: Tensor
    surface: Tensor
    hits: Tensor
    counters: Counters


def unroll(
    processor: FlowProcessor,
    inputs: NDArray[np.float32],
    choice: BackPropagationChoice,
    *,
    options: Mapping[str, Any],
    seed: int,
    sample_keys: list[int],
    observe: Observer | None = None,
) -> Unrolled:
    """Runs a part of a batch to its end; it carries gradients, so the processor is training.

    Args:
        inputs: [B, E]. options: run-time fields, nested or dotted.
        observe: sees every step once.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite.
    """
    processor.keeps_tapes = choice.mode is not BackPropagation.CHECKPOINTED
    state = processor.start(
        inputs, options={**options, **QUIET}, seed=seed, sample_keys=sample_keys
    )
    (cohort,) = state.cohorts
    while state.active_flows:
        if choice.steps is None:
            state = processor.step(state, observe)
        else:
            # Before the first step there is nothing to cut but the input mapper.
            begun = _cut(state) if cohort.ledger.history else state
            state = _window(processor, begun, choice.steps, observe)
        if cohort.failure is not None:
            raise cohort.failure
    result = processor.finish(state, cohort, ("embedding", "surface", "hits"))
    return Unrolled(
        embedding=torch.as_tensor(result.outputs["embedding"]),
        surface=torch.as_tensor(result.outputs["surface"]).flatten(1),
        hits=torch.as_tensor(result.outputs["hits"]).flatten(2),
        counters=result.metrics.counters,
    )


def _window(
    processor: FlowProcessor, state: FlowState, steps: int, observe: Observer | None
) -> FlowState:
    """Up to ``steps`` steps that are done again for their gradients."""
    reports: list[StepReport] = []
    is_first_pass = True

    def stretch(current: FlowState) -> FlowState:
        for _ in range(steps):
            if not current.active_flows:
                break
            watching = observe if is_first_pass else None
            current, report = advance(current, processor.lattice, watching)
            if is_first_pass:
                reports.append(report)
        return current

    after: FlowState = checkpoint(stretch, state, use_reentrant=False, preserve_rng_state=False)
    is_first_pass = False
    reading = MemoryProbe.of(processor.device).read()
    for report in reports:
        after.account(report, reading)
    return after


def _cut(state: FlowState) -> FlowState:
    """The state without what its flows owe to earlier steps; the tally keeps its gradients."""
    flows = replace(
        state.flows, position=state.flows.position.detach(), energy=state.flows.energy.detach()
    )
    rows = tuple(tensor.detach() for tensor in state.hidden.rows)
    return replace(state, flows=flows, hidden=replace(state.hidden, rows=rows, spare=()))
