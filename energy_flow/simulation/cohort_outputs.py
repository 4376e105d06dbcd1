"""``CohortOutputs``: what is read of a cohort: outputs from the tally, records from the rings.

Shape legend: B samples of one cohort.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import AggregationMode, Output, TraceKeep, names_of
from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.block_plan import BlockPlan
from energy_flow.simulation.cohort import Cohort
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.tally.output_source import OutputSource
from energy_flow.simulation.tally.outputs import read_output
from energy_flow.trace import Trace, TraceCounters
from energy_flow.trace.records import KINDS, Columns
from energy_flow.trace.ring import TraceRing


@dataclass(frozen=True, slots=True)
class CohortOutputs:
    """Outputs and trace of one cohort.

    Attributes:
        outputs: those asked for; NumPy arrays, or tensors that carry gradients.
        hits: scores of each sample, int64 [B].
        trace: the surviving records with their counters.
        read_ms: milliseconds of the reading, of all cohorts that were read together.
    """

    outputs: Mapping[str, Any]
    hits: NDArray[np.int64]
    trace: Trace
    read_ms: float


def cohort_outputs(
    state: FlowState, asked: Mapping[Cohort, Sequence[str]], plan: BlockPlan
) -> dict[Cohort, CohortOutputs]:
    """Read the outputs and traces of some cohorts together, which takes fewer operations.

    Args:
        state: the pool that they are in.
        asked: names of ``choices.Output`` for each cohort.
        plan: block heights of the mappers.
    """
    began = time.perf_counter()
    cohorts = list(asked)
    surfaces = state.tally.read(
        [cohort.tally for cohort in cohorts], [_background(cohort.config) for cohort in cohorts]
    )
    rows = _consecutive(cohort.samples for cohort in cohorts)
    outputs: list[dict[str, Any]] = [{} for _ in cohorts]
    for name in names_of(Output):
        asking = [index for index, names in enumerate(asked.values()) if name in names]
        if not asking:
            continue
        source = OutputSource(
            surfaces,
            [rows[index] for index in asking],
            cohorts[0].config.output_planes,
            lambda surface: state.networks.map_surfaces(surface, plan),
        )
        values = _output(name, source, cohorts[0].config)
        for index, value in zip(asking, values, strict=True):
            outputs[index][name] = value
    hits = surfaces.hits.sum((1, 2)).cpu().numpy()
    traces = [
        _trace(cohort, columns)
        for cohort, columns in zip(cohorts, _records(state.ring, cohorts), strict=True)
    ]
    read_ms = 1e3 * (time.perf_counter() - began)
    return {
        cohort: CohortOutputs(
            {name: outputs[index][name] for name in asked[cohort]},
            hits[rows[index]],
            traces[index],
            read_ms,
        )
        for index, cohort in enumerate(cohorts)
    }


def _background(config: FlowConfig) -> float | None:
    """Return β of soft deposition, or None for another way to tally."""
    is_soft = config.aggregation_mode is AggregationMode.SPLAT
    return config.background_weight if is_soft else None


def _output(name: str, source: OutputSource, config: FlowConfig) -> list[Any]:
    """Return one output, for each of the source's parts."""
    tensor = read_output(name, source, config)
    parts = _consecutive(part.stop - part.start for part in source.rows)
    if tensor.requires_grad:
        return [tensor[part] for part in parts]
    values = tensor.cpu().numpy()
    return [values] if len(parts) == 1 else [values[part].copy() for part in parts]


def _records(ring: TraceRing, cohorts: Sequence[Cohort]) -> list[Columns]:
    """Return the surviving records of each cohort, by (sample, seq)."""
    plain = [_rings(cohort) for cohort in cohorts if cohort.spilled is None]
    parts: list[Columns] = []
    if plain:
        together = ring.read(*map(np.concatenate, zip(*plain, strict=True)))
        parts = [together]
    if len(plain) > 1:
        held = (int(np.minimum(total - first, room).sum()) for _, room, total, first, _ in plain)
        # Copies, so that the records of one run do not keep those of all others in memory.
        parts = [
            {name: column[part].copy() for name, column in together.items()}
            for part in _consecutive(held)
        ]
    of_rings = iter(parts)
    return [
        next(of_rings)
        if cohort.spilled is None
        else cohort.spilled.read_all(
            ring, cohort.ring.start, cohort.counted_records(), cohort.first_sample
        )
        for cohort in cohorts
    ]


def _rings(cohort: Cohort) -> tuple[NDArray[np.int64], ...]:
    """Return the arguments of :meth:`TraceRing.read` for the samples of a cohort."""
    config, total = cohort.config, cohort.counted_records()
    index = np.arange(cohort.samples)
    room = np.full_like(total, config.ring_records)
    latest = config.trace.keep is TraceKeep.LATEST
    first = np.maximum(total - room, 0) if latest else np.zeros_like(total)
    return cohort.ring.start + index * room, room, total, first, cohort.first_sample + index


def _trace(cohort: Cohort, columns: Columns) -> Trace:
    totals = cohort.ledger.trace_totals()
    rows = columns["sample"].astype(np.int64) - cohort.first_sample
    kinds = columns["kind"].astype(np.int64)
    recorded = np.bincount(rows * len(KINDS) + kinds, minlength=totals.size).reshape(totals.shape)
    dropped = cohort.recorded_kinds(totals) - recorded
    return Trace(columns, TraceCounters(totals, recorded, dropped))


def _consecutive(lengths: Iterable[int]) -> list[slice]:
    """Return slices of these lengths, one after the other, from 0."""
    return [slice(*bounds) for bounds in pairwise(accumulate(lengths, initial=0))]
