"""The tally: scores of flows that end at the exit planes, summed up as flows end.

The energy of a cell is Σ cᵢ eᵢ / Σ cᵢ over its scores, where e is the energy of a score, w its
importance, and c depends on the aggregation mode:

- ``weighted_v2``: c = exp(w), kept relative to the running maximum of w (Milakov and Gimelshein,
  "Online normalizer calculation for softmax", 2018), so that the energy is Σ softmax(w)ᵢ eᵢ;
- ``legacy``: c = w; the energy is 0 where Σ w = 0.

Sums of floats run over segments of scores sorted by cell, in the order of flow ids, so that they
round alike wherever the scores are. Scores are counted with ``scatter_add``, which may add them in
any order: sums of integers do not depend on it.

Shape legend: K scores, T = 2 · S cells of each tally slot and one more at the end, P = 2 planes,
B samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from energy_flow.choices import AggregationMode, Plane
from energy_flow.simulation.span_allocator import Span

PLANES = len(Plane)
WEIGHTED_V2 = AggregationMode.WEIGHTED_V2.code
LEGACY = AggregationMode.LEGACY.code


@dataclass(frozen=True, slots=True)
class Scores:
    """Flows that ended at a plane in one step, in the order (sample, flow id).

    Attributes:
        slot: tally slot of the flow's sample, int64 [K].
        plane: code of ``Plane``, int64 [K].
        cell: surface index, int64 [K] in [0, S).
        energy: e', [K].
        weight: importance, [K].
        aggregation: code of the sample's ``AggregationMode``, int64 [K].
    """

    slot: Tensor
    plane: Tensor
    cell: Tensor
    energy: Tensor
    weight: Tensor
    aggregation: Tensor


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sums of every slot, plane and cell; flat columns [T].

    The last cell takes what belongs to no cell, so that shapes need not depend on the data.

    Attributes:
        cells: S.
        peak: largest w so far; 0 in modes that do not need it.
        weight: Σ c, relative to exp(peak) where there is a peak.
        energy: Σ c e, likewise.
        hits: number of scores, int64.
    """

    cells: int
    # The metadata of a column becomes a _Column.
    peak: Tensor = field(metadata={"empty": -torch.inf})
    weight: Tensor = field(metadata={"empty": 0.0})
    energy: Tensor = field(metadata={"empty": 0.0})
    hits: Tensor = field(metadata={"empty": 0, "dtype": torch.int64})

    @classmethod
    def empty(cls, cells: int, dtype: torch.dtype, device: torch.device) -> Tally:
        """Return a tally without slots.

        Args:
            cells: S.
            dtype: of the sums.
            device: where they are kept.
        """
        columns = {
            column.name: torch.full((1,), column.empty, dtype=column.dtype or dtype, device=device)
            for column in _COLUMNS
        }
        return cls(cells, **columns)

    @staticmethod
    def cell_bytes(dtype: torch.dtype) -> int:
        """Return the bytes of one surface cell in all columns, of both planes.

        Args:
            dtype: of the sums.
        """
        return PLANES * sum((column.dtype or dtype).itemsize for column in _COLUMNS)

    @property
    def bytes(self) -> int:
        """Bytes of all columns."""
        return sum(getattr(self, column.name).nbytes for column in _COLUMNS)

    @property
    def slots(self) -> int:
        """Return the number of slots, one for each sample that the tally can hold."""
        return (self.hits.shape[0] - 1) // (PLANES * self.cells)

    def resize(self, slots: int) -> Tally:
        """Return a tally with ``slots`` slots; those within both sizes keep their sums."""
        kept = min(slots, self.slots) * PLANES * self.cells
        length = slots * PLANES * self.cells + 1

        def resized(column: Tensor, empty: float) -> Tensor:
            rest = column.new_full((length - kept,), empty)
            return torch.cat((column[:kept], rest))

        return self._map(resized)

    def clear(self, spans: Sequence[Span]) -> Tally:
        """Return a tally whose slots in some spans have no scores."""
        width = PLANES * self.cells

        def cleared(column: Tensor, empty: float) -> Tensor:
            column = column.clone()
            for span in spans:
                column[span.start * width : span.end * width] = empty
            return column

        return self._map(cleared)

    def _map(self, change: Callable[[Tensor, float], Tensor]) -> Tally:
        """Return a tally with the same change to each column.

        Args:
            change: takes a column and its value in cells without scores.
        """
        changed: dict[str, Any] = {
            column.name: change(getattr(self, column.name), column.empty) for column in _COLUMNS
        }
        return replace(self, **changed)

    def add(self, scores: Scores) -> Tally:
        """Return a tally that includes these scores."""
        count = scores.cell.shape[0]
        if count == 0:
            return self
        key_K = (scores.slot * PLANES + scores.plane) * self.cells + scores.cell
        key_K, order_K = torch.sort(key_K, stable=True)
        opens_K = torch.ones_like(key_K, dtype=torch.bool)
        opens_K[1:] = key_K[1:] != key_K[:-1]
        segment_K = opens_K.cumsum(0) - 1
        length_K = torch.zeros_like(key_K).scatter_add_(0, segment_K, torch.ones_like(key_K))
        # One entry for each segment; the other entries point at the last cell.
        where_K = torch.full_like(key_K, self.hits.shape[0] - 1).scatter_(0, segment_K, key_K)
        energy_K = scores.energy.index_select(0, order_K)
        weight_K = scores.weight.index_select(0, order_K)
        aggregation_K = scores.aggregation.index_select(0, order_K)

        # All scores of a segment are of one sample, and have its mode.
        no_peak_K = aggregation_K != WEIGHTED_V2
        no_peak_K = torch.zeros_like(no_peak_K).scatter_(0, segment_K, no_peak_K)
        old_peak_K = self.peak.index_select(0, where_K)
        step_peak_K = torch.segment_reduce(weight_K.detach(), "max", lengths=length_K, unsafe=True)
        peak_K = torch.maximum(old_peak_K, step_peak_K)
        peak_K = torch.where(no_peak_K | (length_K == 0), torch.zeros_like(peak_K), peak_K)
        scale_K = torch.where(no_peak_K, 1.0, exponential(old_peak_K - peak_K))
        share_K = _shares(aggregation_K, weight_K, peak_K.index_select(0, segment_K))
        sums_K2 = torch.segment_reduce(
            torch.stack((share_K, share_K * energy_K), dim=1),
            "sum",
            lengths=length_K,
            axis=0,
            unsafe=True,
        )
        return Tally(
            self.cells,
            self.peak.index_copy(0, where_K, peak_K),
            self.weight.index_copy(
                0, where_K, self.weight.index_select(0, where_K) * scale_K + sums_K2[:, 0]
            ),
            self.energy.index_copy(
                0, where_K, self.energy.index_select(0, where_K) * scale_K + sums_K2[:, 1]
            ),
            self.hits.index_copy(0, where_K, self.hits.index_select(0, where_K) + length_K),
        )

    def read(self, spans: Sequence[Span]) -> Surfaces:
        """Return the surfaces of the slots in some spans, one span after the other."""
        width = PLANES * self.cells

        def shaped(column: Tensor) -> Tensor:
            parts = [column[span.start * width : span.end * width] for span in spans]
            return torch.cat(parts).view(-1, PLANES, self.cells)

        peak, weight, energy = shaped(self.peak), shaped(self.weight), shaped(self.energy)
        hits = shaped(self.hits)
        top = peak.amax(dim=1, keepdim=True)
        scale = torch.where(hits > 0, exponential(peak - top), torch.zeros_like(peak))
        both_weight = (weight * scale).sum(dim=1)
        both_energy = (energy * scale).sum(dim=1)
        return Surfaces(_mean(both_energy, both_weight), _mean(energy, weight), hits)


class _Column(NamedTuple):
    """A column of :class:`Tally`: the metadata of its field.

    Attributes:
        name: of the field.
        empty: value in cells without scores.
        dtype: of the column; ``None`` for that of the sums.
    """

    name: str
    empty: float
    dtype: torch.dtype | None = None


_COLUMNS = tuple(_Column(one.name, **one.metadata) for one in fields(Tally) if one.metadata)


@dataclass(frozen=True, slots=True)
class Surfaces:
    """Energies and scores of the surface cells of some samples; cells without a score hold 0.

    Attributes:
        surface: energies of both planes together, [B, S].
        planes: energies of each plane alone, [B, P, S].
        hits: number of scores, int64 [B, P, S].
    """

    surface: Tensor
    planes: Tensor
    hits: Tensor


def importance(energy_K: Tensor, distance_K: Tensor, age_K: Tensor) -> Tensor:
    """Return w = |e'| / (1 + distance) · (1 + 0.1 · age) (docs/simulation.md §4), [K].

    Args:
        energy_K: e', [K].
        distance_K: distance to the plane before the flow was moved there, [K].
        age_K: steps taken, int64 [K].
    """
    return energy_K.abs() / (1.0 + distance_K) * (1.0 + 0.1 * age_K.to(energy_K.dtype))


def exponential(x: Tensor) -> Tensor:
    """Return eˣ, rounded once from float64: its bits must not depend on an element's place."""
    return x.to(torch.float64).exp().to(x.dtype)


def _shares(aggregation_K: Tensor, weight_K: Tensor, peak_K: Tensor) -> Tensor:
    """Return c of each score by its aggregation mode, relative to exp(peak) where there is one."""
    return torch.where(aggregation_K == LEGACY, weight_K, exponential(weight_K - peak_K))


def _mean(energy: Tensor, weight: Tensor) -> Tensor:
    # The inner where keeps 0/0 out of the gradient too.
    some = weight > 0
    return torch.where(some, energy / torch.where(some, weight, 1.0), 0.0)
