"""What cohorts have left behind in a pool: surfaces in the tally, records in the rings.

Shape legend: B samples of all cohorts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from energy_flow.config import Keep
from energy_flow.pool import Cohort, FlowState
from energy_flow.tally import Surfaces
from energy_flow.trace import Trace, TraceCounters
from energy_flow.trace.records import KINDS
from energy_flow.trace.ring import TraceRing
from energy_flow.trace.spill import Columns


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Of one cohort: its surfaces, and its surviving records with their counters."""

    surfaces: Surfaces
    trace: Trace


def left_behind(state: FlowState, cohorts: Sequence[Cohort]) -> list[LeftBehind]:
    """What each cohort has left, read together: every reading takes many small operations."""
    surfaces = state.tally.read([cohort.tally for cohort in cohorts])
    ends = list(accumulate(cohort.samples for cohort in cohorts))
    return [
        LeftBehind(surfaces.rows(end - cohort.samples, end), _trace(cohort, columns))
        for cohort, end, columns in zip(cohorts, ends, _records(state.ring, cohorts), strict=True)
    ]


def _records(ring: TraceRing, cohorts: Sequence[Cohort]) -> list[Columns]:
    """Surviving records of each cohort, by (sample, seq)."""
    plain = [_rings(cohort) for cohort in cohorts if cohort.spilled is None]
    parts: list[Columns] = []
    if plain:
        together = ring.read(*map(np.concatenate, zip(*plain, strict=True)))
        parts = [together]
    if len(plain) > 1:
        ends = np.cumsum(
            [np.minimum(total - first, room).sum() for _, room, total, first, _ in plain]
        )
        # Copies, so that no run's records keep those of all others.
        parts = [
            {name: column[start:end].copy() for name, column in together.items()}
            for start, end in pairwise([0, *ends])
        ]
    of_rings = iter(parts)
    return [
        next(of_rings)
        if cohort.spilled is None
        else cohort.spilled.joined(
            ring, cohort.ring.start, cohort.counted_records(), cohort.first_sample
        )
        for cohort in cohorts
    ]


def _rings(cohort: Cohort) -> tuple[NDArray[np.int64], ...]:
    """Of each sample's ring what :meth:`TraceRing.read` asks for."""
    config, total = cohort.config, cohort.counted_records()
    index = np.arange(cohort.samples)
    room = np.full_like(total, config.ring_records)
    latest = config.trace.keep is Keep.LATEST
    first = np.maximum(total - room, 0) if latest else np.zeros_like(total)
    return cohort.ring.start + index * room, room, total, first, cohort.first_sample + index


def _trace(cohort: Cohort, columns: Columns) -> Trace:
    totals = cohort.ledger.trace_totals()
    rows = columns["sample"].astype(np.int64) - cohort.first_sample
    kinds = columns["kind"].astype(np.int64)
    recorded = np.bincount(rows * len(KINDS) + kinds, minlength=totals.size).reshape(totals.shape)
    dropped = cohort.recorded_kinds(totals) - recorded
    return Trace(columns, TraceCounters(totals, recorded, dropped))
