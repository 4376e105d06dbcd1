"""Two kept runs side by side: metrics, surfaces, and where each sample's traces part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig, Keep
from energy_flow.simulation.replay import first_difference
from energy_flow.trace.formats import columns_of, read_batches
from service.json_encoding import large_to_json
from service.problems import Problem
from service.store.run_folder import RunFolder
from service.store.tables import RunRow

Columns = Mapping[str, NDArray[Any]]

# Surfaces that are in memory at once.
ROWS = 64


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs, which has ended."""

    row: RunRow
    folder: RunFolder

    @property
    def config(self) -> FlowConfig:
        """Of the run."""
        return FlowConfig.from_dict(self.row.config)

    def surface(self) -> NDArray[Any] | None:
        """Its surfaces [B, H, W], not read yet; none where the run was not asked for them."""
        if "surface" not in self.row.request["outputs"] or not self.row.samples_done:
            return None
        return self.folder.output("surface")


def comparison_answer(a: Side, b: Side) -> bytes:
    """The answer to a request to compare two runs, serialised; may take long.

    Raises:
        Problem: 409, their surfaces have different shapes.
        FileNotFoundError: one of them is gone.
    """
    shapes = [(one.config.lattice_height, one.config.lattice_width) for one in (a, b)]
    if shapes[0] != shapes[1]:
        raise Problem(
            409,
            f"the runs cannot be compared: the surface of {a.row.run_id} is "
            f"{shapes[0][0]} x {shapes[0][1]}, that of {b.row.run_id} {shapes[1][0]} x "
            f"{shapes[1][1]}",
            extra={"a": list(shapes[0]), "b": list(shapes[1])},
        )
    count = min(a.row.samples_done, b.row.samples_done)
    surfaces = _surface_differences(a, b, count)
    parted = _first_differences(a, b, count)
    samples = [
        {
            "sample": sample,
            "surface_max_abs_difference": surfaces[0][sample] if surfaces is not None else None,
            "surface_mean_abs_difference": surfaces[1][sample] if surfaces is not None else None,
            "first_difference": difference,
        }
        for sample, difference in enumerate(parted)
    ]
    return large_to_json(
        {
            "a": a.row.run_id,
            "b": b.row.run_id,
            "metrics": _metrics(a.row.metrics or {}, b.row.metrics or {}),
            "samples": samples,
        }
    )


def _metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"a": a.get(name), "b": b.get(name)} for name in {**a, **b}}


def _surface_differences(a: Side, b: Side, count: int) -> tuple[list[float], list[float]] | None:
    """The largest and the mean of each sample."""
    one, two = a.surface(), b.surface()
    if one is None or two is None:
        return None
    most: list[float] = []
    mean: list[float] = []
    for start in range(0, count, ROWS):
        rows = slice(start, min(start + ROWS, count))
        gap = np.abs(one[rows].astype(np.float64) - two[rows])
        most += gap.max((1, 2)).tolist()
        mean += gap.mean((1, 2)).tolist()
    return most, mean


def _first_differences(a: Side, b: Side, count: int) -> Iterator[dict[str, Any] | None]:
    """Of each sample, the first record at which its traces part."""

    if not a.config.ring_records or not b.config.ring_records:
        yield from [None] * count
        return
    cuts = (_cut_short(a), _cut_short(b))
    traces = (_traces(a.folder, count), _traces(b.folder, count))
    for sample, columns in enumerate(zip(*traces, strict=True)):
        ends = [
            int(one["seq"][-1]) if len(one["seq"]) else -1
            for one, cut in zip(columns, cuts, strict=True)
            if cut is not None and cut[sample]
        ]
        one, two = (_SampleTrace(_until(each, min(ends, default=None))) for each in columns)
        found = first_difference(one, two)
        yield (None if found is None else {"seq": found.seq, "a": found.first, "b": found.second})


def _cut_short(side: Side) -> list[bool] | None:
    """Of a run that kept the earliest records: of which samples it lost the later ones."""
    if side.config.trace.keep is not Keep.EARLIEST:
        return None
    return [lost for chunk in side.folder.chunks() for lost in chunk["trace_overflow"]]


def _until(columns: Columns, last: int | None) -> Columns:
    if last is None:
        return columns
    within = columns["seq"] <= last
    return {name: column[within] for name, column in columns.items()}


def _traces(folder: RunFolder, count: int) -> Iterator[Columns]:
    """The records of each sample, read in order."""

    following, held = 0, columns_of(())
    empty = held
    for batch in read_batches(folder.trace_parts()):
        read = columns_of((batch,))
        held = {name: np.concatenate((held[name], read[name])) for name in held}
        # The last sample of the batch may go on in the next.
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
