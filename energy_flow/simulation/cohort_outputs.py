"""What cohorts have left behind in a pool: surfaces in the tally, records in the rings.

Shape legend: B samples of one cohort, H and W the lattice's height and width.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.config.flow_config import Keep
from energy_flow.model.block_plan import BlockPlan
from energy_flow.simulation.inputs import OUTPUTS
from energy_flow.simulation.pool import Cohort, FlowState
from energy_flow.simulation.tally.tally import Surfaces
from energy_flow.trace import Trace, TraceCounters
from energy_flow.trace.records import KINDS
from energy_flow.trace.ring import TraceRing
from energy_flow.trace.spill import Columns


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Of one cohort.

    Attributes:
        outputs: those asked for; numpy arrays, or tensors that carry gradients.
        hits: scores of each sample, int64 [B].
        trace: its surviving records with their counters.
        read_ms: how long the reading took, for all that were read together.
    """

    outputs: Mapping[str, Any]
    hits: NDArray[np.int64]
    trace: Trace
    read_ms: float


def left_behind(
    state: FlowState, asked: Mapping[Cohort, Sequence[str]], size: tuple[int, int], plan: BlockPlan
) -> dict[Cohort, LeftBehind]:
    """What each cohort has left, read together: every reading takes many small operations.

    Args:
        asked: names out of ``embeddings.OUTPUTS`` for each cohort. size: H and W.
        plan: block heights of the mappers.
    """
    began = time.perf_counter()
    cohorts = list(asked)
    surfaces = state.tally.read([cohort.tally for cohort in cohorts])
    ends = list(accumulate(cohort.samples for cohort in cohorts))
    rows = [slice(*bounds) for bounds in pairwise([0, *ends])]
    outputs: list[dict[str, Any]] = [{} for _ in cohorts]
    for name in OUTPUTS:
        asking = [index for index, names in enumerate(asked.values()) if name in names]
        if not asking:
            continue
        values = _output(name, surfaces, [rows[index] for index in asking], state, size, plan)
        for index, value in zip(asking, values, strict=True):
            outputs[index][name] = value
    hits = surfaces.hits.sum((1, 2)).cpu().numpy()
    traces = [
        _trace(cohort, columns)
        for cohort, columns in zip(cohorts, _records(state.ring, cohorts), strict=True)
    ]
    read_ms = 1e3 * (time.perf_counter() - began)
    return {
        cohort: LeftBehind(
            {name: outputs[index][name] for name in asked[cohort]},
            hits[rows[index]],
            traces[index],
            read_ms,
        )
        for index, cohort in enumerate(cohorts)
    }


def _output(
    name: str,
    surfaces: Surfaces,
    rows: Sequence[slice],
    state: FlowState,
    size: tuple[int, int],
    plan: BlockPlan,
) -> list[Any]:
    """One output, for the samples in each of these rows."""
    source = {"planes": surfaces.planes, "hits": surfaces.hits}.get(name, surfaces.surface)
    tensor = torch.cat([source[part] for part in rows])
    if name == "embedding":
        tensor = state.networks.embeddings(tensor, plan)
    else:
        tensor = tensor.reshape(*tensor.shape[:-1], *size)
    if name == "hits":
        tensor = tensor.to(torch.int32)
    ends = list(accumulate(part.stop - part.start for part in rows))
    parts = [slice(*bounds) for bounds in pairwise([0, *ends])]
    if tensor.requires_grad:
        return [tensor[part] for part in parts]
    values = tensor.cpu().numpy()
    return [values] if len(parts) == 1 else [values[part].copy() for part in parts]


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
