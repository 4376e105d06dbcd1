"""The comparison of two stored runs: metrics, surfaces, and the first difference of each trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import TraceKeep
from energy_flow.config.flow_config import FlowConfig
from energy_flow.trace.batches import columns_of
from energy_flow.trace.difference import first_difference
from service.json_encoding import large_to_json
from service.problems import Problem
from service.runs.arithmetic import note_on_comparison
from service.store.npy_file import StoredArray
from service.store.stored_run import StoredRun
from service.store.tables import RunRow

Columns = Mapping[str, NDArray[Any]]

# Surfaces that are in memory at once.
SURFACES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs, which has ended.

    Attributes:
        row: Its row.
        files: Its files.
    """

    row: RunRow
    files: StoredRun

    @property
    def config(self) -> FlowConfig:
        """Config of the run."""
        return FlowConfig.from_dict(self.row.config)

    def surface(self) -> StoredArray | None:
        """Return the surfaces [samples, H, W]; ``None`` if it has none."""
        return self.files.output("surface") if self.files.has_output("surface") else None


def render_comparison(a: Side, b: Side) -> bytes:
    """Compare two runs, and return the answer as JSON; this can take seconds.

    Args:
        a: The first run.
        b: The second run.

    Raises:
        Problem: 409, their surfaces have different shapes.
        DamagedFile: A file of one of them is damaged, or was removed.
    """
    shapes = [(one.config.lattice_height, one.config.lattice_width) for one in (a, b)]
    if shapes[0] != shapes[1]:
        raise Problem(
            409,
            f"runs with surfaces of different shapes cannot be compared: {a.row.run_id} has "
            f"{shapes[0][0]} x {shapes[0][1]}, {b.row.run_id} has {shapes[1][0]} x {shapes[1][1]}",
            extra={"a": list(shapes[0]), "b": list(shapes[1])},
        )
    count = min(a.row.samples_done, b.row.samples_done)
    surfaces = _surface_differences(a, b, count)
    differences = _first_differences(a, b, count)
    samples = [
        {
            "sample": sample,
            "surface_max_abs_difference": surfaces[0][sample] if surfaces is not None else None,
            "surface_mean_abs_difference": surfaces[1][sample] if surfaces is not None else None,
            "first_difference": difference,
        }
        for sample, difference in enumerate(differences)
    ]
    return large_to_json(
        {
            "a": a.row.run_id,
            "b": b.row.run_id,
            "note": note_on_comparison(a.row, b.row),
            "metrics": _metrics(a.row.metrics or {}, b.row.metrics or {}),
            "samples": samples,
        }
    )


def _metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"a": a.get(name), "b": b.get(name)} for name in {**a, **b}}


def _surface_differences(a: Side, b: Side, count: int) -> tuple[list[float], list[float]] | None:
    """Return the largest and the mean difference of each sample's surface."""
    one, two = a.surface(), b.surface()
    if one is None or two is None:
        return None
    most: list[float] = []
    mean: list[float] = []
    for start in range(0, count, SURFACES_AT_ONCE):
        stop = min(start + SURFACES_AT_ONCE, count)
        gap = np.abs(one.read(start, stop).astype(np.float64) - two.read(start, stop))
        most += gap.max((1, 2)).tolist()
        mean += gap.mean((1, 2)).tolist()
    return most, mean


def _first_differences(a: Side, b: Side, count: int) -> Iterator[dict[str, Any] | None]:
    """Yield for each sample the first record in which its traces differ, if any."""
    if not a.config.ring_records or not b.config.ring_records:
        yield from [None] * count
        return
    cuts = (_truncated_samples(a), _truncated_samples(b))
    traces = (_traces(a.files, count), _traces(b.files, count))
    for sample, columns in enumerate(zip(*traces, strict=True)):
        ends = [
            int(one["seq"][-1]) if len(one["seq"]) else -1
            for one, cut in zip(columns, cuts, strict=True)
            if cut is not None and cut[sample]
        ]
        one, two = (_SampleTrace(_until(each, min(ends, default=None))) for each in columns)
        found = first_difference(one, two)
        yield (None if found is None else {"seq": found.seq, "a": found.first, "b": found.second})


def _truncated_samples(side: Side) -> list[bool] | None:
    """Return for a run that keeps the earliest records which samples lost later ones."""
    if side.config.trace.keep is not TraceKeep.EARLIEST:
        return None
    return [lost for chunk in side.files.read_chunks() for lost in chunk["trace_overflow"]]


def _until(columns: Columns, last: int | None) -> Columns:
    if last is None:
        return columns
    within = columns["seq"] <= last
    return {name: column[within] for name, column in columns.items()}


def _traces(files: StoredRun, count: int) -> Iterator[Columns]:
    """Yield the records of each sample, in order."""
    following, held = 0, columns_of(())
    empty = held
    for batch in files.trace.read(files.trace.files()):
        read = columns_of((batch,))
        held = {name: np.concatenate((held[name], read[name])) for name in held}
        # The last sample of the batch may continue in the next one.
        last = int(held["sample"][-1])
        bounds = np.searchsorted(held["sample"], np.arange(following, last + 1))
        for start, stop in pairwise(bounds.tolist()):
            if following >= count:
                return
            yield {name: column[start:stop] for name, column in held.items()}
            following += 1
        held = {name: column[bounds[-1] :] for name, column in held.items()}
    if following < count:
        yield held
        following += 1
    yield from [empty] * (count - following)


@dataclass(frozen=True, slots=True)
class _SampleTrace:
    columns: Columns
