"""One step of a pool, as docs/simulation.md §3 numbers it.

Decisions first, all on the device; then the one transfer that tells the host how many flows ended,
survived and were born; then what follows from that, in arrays of exactly that size.

Shape legend: N flows before the step, B samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from energy_flow.model.autograd import propose
from energy_flow.simulation.decide import decide, float_sums
from energy_flow.simulation.emit import StepSizes, emit
from energy_flow.simulation.emit_records import KindSize, number_records
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import FAILED
from energy_flow.simulation.step_types import Decisions
from energy_flow.telemetry.counters import Count, StepReport, Sum
from energy_flow.trace.records import KINDS

Observer = Callable[[FlowState, Decisions], None]
"""Sees the flows of a step and what was decided about them."""


def advance(
    state: FlowState, lattice: EnergyLattice, observe: Observer | None = None
) -> tuple[FlowState, StepReport]:
    """Moves every active flow of the pool once."""
    began = time.perf_counter()
    proposals = propose(
        state.networks, state.flows.position, state.flows.energy, state.hidden, state.plan
    )
    proposed = time.perf_counter()
    decided = decide(state, proposals)
    if observe is not None:
        observe(state, decided)
    numbers = number_records(state, decided)
    sums = float_sums(state, decided)
    samples = decided.counts.shape[0]
    # The one transfer. Floats travel as the integers that have their bits.
    words = torch.cat(
        (decided.counts.reshape(-1), sums.view(torch.int64).reshape(-1), numbers.surviving)
    )
    host = words.cpu().numpy()
    counts = host[: samples * len(Count)].reshape(samples, len(Count))
    told = time.perf_counter()
    state.make_room(counts)
    births = int(counts[:, Count.SPAWNED].sum())
    ended = int(counts[:, : Count.ACTIVE_LOW].sum())
    happened = (births, int(counts[:, Count.REFLECTED].sum()), ended)
    sizes = StepSizes(
        survivors=int(counts[:, Count.ACTIVE_LOW : Count.ACTIVE_HIGH + 1].sum()),
        births=births,
        scores=int(counts[:, : Count.STALLED_LOW].sum()),
        records=tuple(map(KindSize, happened, host[-len(KINDS) :].tolist())),
    )
    after = emit(state, decided, numbers, lattice, sizes)
    active = counts[:, [Count.ACTIVE_LOW, Count.ACTIVE_HIGH, Count.SPAWNED]].sum(1)
    failed = counts[:, Count.FAILED_LOW : Count.FAILED_HIGH + 1].any()
    done = time.perf_counter()
    report = StepReport(
        counts=counts,
        sums=host[samples * len(Count) : -len(KINDS)].view(np.float64).reshape(samples, len(Sum)),
        active=active,
        failures=_failures(state, decided) if failed else (),
        network_ms=1e3 * (proposed - began),
        rules_ms=1e3 * (told - proposed),
        emit_ms=1e3 * (done - told),
    )
    return after, report


def _failures(state: FlowState, decided: Decisions) -> tuple[tuple[int, int, int], ...]:
    rows = torch.nonzero(decided.outcome == FAILED).squeeze(1)
    sample = state.flows.sample.index_select(0, rows)
    step = state.progress.step.index_select(0, sample)
    flow = state.flows.flow_id.index_select(0, rows)
    first: dict[int, tuple[int, int, int]] = {}
    for row, *where in zip(sample.tolist(), flow.tolist(), step.tolist(), strict=True):
        first.setdefault(row, (row, *where))
    return tuple(first.values())
