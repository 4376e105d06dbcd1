"""Sequence numbers of a step's trace records, and which of them survive (docs/simulation.md §5).

Shape legend: B samples.
"""

from __future__ import annotations

import torch

from energy_flow.choices import Reason
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.telemetry.counters import Count
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE
from energy_flow.trace.ring import RingBounds


def number_records(state: FlowState, decided: Decisions) -> RecordNumbers:
    """Return the numbers of the step's records: within a sample reflect, terminate, spawn."""
    options = state.options
    terminated_B = decided.endings.counts[:, : len(Reason)].sum(dim=(1, 2))
    reflected_B = decided.counts[:, Count.REFLECTED]
    events = torch.stack((decided.spawns.spawned, reflected_B, terminated_B), dim=1)
    enabled = options.trace_kinds & (options.ring_capacity > 0).unsqueeze(1)
    events = events * enabled.to(torch.int64)
    first_reflect = state.progress.records
    first_terminate = first_reflect + events[:, REFLECT]
    first_spawn = first_terminate + events[:, TERMINATE]
    total = first_spawn + events[:, SPAWN]
    bounds = RingBounds.of(total, options.ring_capacity, options.ring_latest, options.ring_lossless)
    first = (first_spawn, first_reflect, first_terminate)
    surviving = [bounds.overlap(first[kind], events[:, kind]).sum() for kind in range(len(first))]
    return RecordNumbers(first, enabled, bounds, total, torch.stack(surviving))
