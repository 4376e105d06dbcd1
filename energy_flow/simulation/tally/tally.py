"""The tally: scores of flows that end at the exit planes, summed up as flows end.

The energy of a cell is Σ cᵢ eᵢ / (β + Σ cᵢ) over its scores, where e is the energy of a score, w
its importance, and c and β depend on the aggregation mode:

- ``weighted_v2``: c = exp(w), kept relative to the running maximum of w (Milakov and Gimelshein,
  "Online normalizer calculation for softmax", 2018), so that the energy is Σ softmax(w)ᵢ eᵢ;
- ``legacy``: c = w; the energy is 0 where Σ w = 0;
- ``splat``: c = k ζ exp(w), see ``deposition``. Its w is at most 2, so that no maximum is needed.

β is the background of ``splat``, and 0 in the other modes.

Sums of floats run over segments of scores sorted by cell, in an order that flow ids fix, so that
they round alike wherever the scores are. Scores are counted with ``scatter_add``, which may add
them in any order: sums of integers do not depend on it.

Shape legend: K scores, T = 2 · S cells of each tally slot and one more at the end, P = 2 planes,
C = 4 corners of a soft deposit, B samples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from energy_flow.choices import AggregationMode, Plane
from energy_flow.runtime.ordered_sums import sum_segments
from energy_flow.simulation.corners import CORNERS, corner_offsets
from energy_flow.simulation.span_allocator import Span
from energy_flow.simulation.tally.deposition import Deposits
from energy_flow.simulation.tally.importance import exponential
from energy_flow.simulation.tally.segments import Segments

PLANES = len(Plane)
WEIGHTED_V2 = AggregationMode.WEIGHTED_V2.code
LEGACY = AggregationMode.LEGACY.code
SPLAT = AggregationMode.SPLAT.code


@dataclass(frozen=True, slots=True)
class Scores:
    """Flows that ended at a plane in one step, in the order (sample, flow id).

    Attributes:
        slot: tally slot of the flow's sample, int64 [K].
        plane: code of ``Plane``, int64 [K].
        cell: surface index, int64 [K] in [0, S).
        position: after the walls and before any move to a plane, [K, 3].
        energy: e', [K].
        weight: importance, [K].
        aggregation: code of the sample's ``AggregationMode``, int64 [K].
    """

    slot: Tensor
    plane: Tensor
    cell: Tensor
    position: Tensor
    energy: Tensor
    weight: Tensor
    aggregation: Tensor


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sums of every slot, plane and cell; flat columns [T].

    The last cell takes what belongs to no cell, so that shapes need not depend on the data.

    Attributes:
        width: W, cells along x.
        cells: S.
        peak: largest w so far; 0 under ``legacy``, and not used under ``splat``.
        weight: Σ c, relative to exp(peak) where there is a peak.
        energy: Σ c e, likewise.
        hits: number of scores, int64.
    """

    width: int
    cells: int
    # The metadata of a column becomes a _Column.
    peak: Tensor = field(metadata={"empty": -torch.inf})
    weight: Tensor = field(metadata={"empty": 0.0})
    energy: Tensor = field(metadata={"empty": 0.0})
    hits: Tensor = field(metadata={"empty": 0, "dtype": torch.int64})

    @classmethod
    def empty(cls, width: int, cells: int, dtype: torch.dtype, device: torch.device) -> Tally:
        """Return a tally without slots.

        Args:
            width: W.
            cells: S.
            dtype: of the sums.
            device: where they are kept.
        """
        columns = {
            column.name: torch.full((1,), column.empty, dtype=column.dtype or dtype, device=device)
            for column in _COLUMNS
        }
        return cls(width, cells, **columns)

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

    def add(self, scores: Scores, modes: Collection[AggregationMode]) -> Tally:
        """Return a tally that includes these scores.

        Args:
            scores: of one step.
            modes: those that the samples of the scores may have.
        """
        if scores.cell.shape[0] == 0:
            return self
        key_K = (scores.slot * PLANES + scores.plane) * self.cells + scores.cell
        if AggregationMode.SPLAT not in modes:
            return self._add_to_cells(scores, key_K)
        if len(modes) > 1:
            return self._add_to_cells(scores, key_K)._deposit(scores)
        hits = self.hits.scatter_add(0, key_K, torch.ones_like(key_K))
        return replace(self, hits=hits)._deposit(scores)

    def _add_to_cells(self, scores: Scores, key_K: Tensor) -> Tally:
        """Return a tally that includes the hits, and the energies but of soft deposits.

        Args:
            scores: of one step.
            key_K: place in the columns of each score's cell.
        """
        segments = Segments.sort(key_K, self.hits.shape[0] - 1)
        order_K, segment_K, length_K = segments.order, segments.segment, segments.length
        where_K = segments.key
        energy_K = scores.energy.index_select(0, order_K)
        weight_K = scores.weight.index_select(0, order_K)
        aggregation_K = scores.aggregation.index_select(0, order_K)

        # All scores of a segment are of one sample, and have its mode.
        mode_K = torch.full_like(aggregation_K, WEIGHTED_V2).scatter_(0, segment_K, aggregation_K)
        no_peak_K = mode_K != WEIGHTED_V2
        hits = self.hits.index_copy(0, where_K, self.hits.index_select(0, where_K) + length_K)
        where_K = where_K.masked_fill(mode_K == SPLAT, self.hits.shape[0] - 1)
        old_peak_K = self.peak.index_select(0, where_K)
        step_peak_K = torch.segment_reduce(weight_K.detach(), "max", lengths=length_K, unsafe=True)
        peak_K = torch.maximum(old_peak_K, step_peak_K)
        peak_K = torch.where(no_peak_K | (length_K == 0), torch.zeros_like(peak_K), peak_K)
        scale_K = torch.where(no_peak_K, 1.0, exponential(old_peak_K - peak_K))
        share_K = _shares(aggregation_K, weight_K, peak_K.index_select(0, segment_K))
        shares_K2 = torch.stack((share_K, share_K * energy_K), dim=1)
        sums_K2 = sum_segments(shares_K2, length_K, segment_K, len(key_K))
        return replace(
            self,
            peak=self.peak.index_copy(0, where_K, peak_K),
            weight=self.weight.index_copy(
                0, where_K, self.weight.index_select(0, where_K) * scale_K + sums_K2[:, 0]
            ),
            energy=self.energy.index_copy(
                0, where_K, self.energy.index_select(0, where_K) * scale_K + sums_K2[:, 1]
            ),
            hits=hits,
        )

    def _deposit(self, scores: Scores) -> Tally:
        """Return a tally that includes the soft deposits among the scores.

        Scores with the same first corner are summed; these sums are then added to
        the cells corner by corner, so that no cell gets two summands at once.
        """
        last = self.hits.shape[0] - 1
        height = self.cells // self.width
        deposits = Deposits.of(scores.position, scores.weight, self.width, height)
        first_K = scores.slot * PLANES * self.cells + deposits.cell
        first_K = first_K.where(scores.aggregation == SPLAT, last)
        segments = Segments.sort(first_K, last)
        share_KX = deposits.share.index_select(0, segments.order)
        energy_K1 = scores.energy.index_select(0, segments.order).unsqueeze(1)
        shares = torch.cat((share_KX, share_KX * energy_K1), dim=1)
        is_none_K1 = (segments.key == last).unsqueeze(1)
        sums = sum_segments(shares, segments.length, segments.segment, len(first_K))
        # What belongs to no cell is not added up: several summands would meet there.
        sums = sums.masked_fill(is_none_K1, 0.0)
        weight_KPC, energy_KPC = sums.view(-1, 2, PLANES, len(CORNERS)).unbind(1)
        plane_P = self.cells * torch.arange(PLANES, device=first_K.device)
        weight, energy = self.weight, self.energy
        for corner, offset in enumerate(corner_offsets(self.width)):
            where_KP = segments.key.unsqueeze(1) + plane_P + offset
            where = where_KP.masked_fill(is_none_K1, last).flatten()
            weight = weight.index_add(0, where, weight_KPC[:, :, corner].flatten())
            energy = energy.index_add(0, where, energy_KPC[:, :, corner].flatten())
        return replace(self, weight=weight, energy=energy)

    def read(self, spans: Sequence[Span], backgrounds: Sequence[float | None]) -> Surfaces:
        """Return the surfaces of the slots in some spans, one span after the other.

        Args:
            spans: of slots.
            backgrounds: β of each span's samples under ``splat``; None in other modes.
        """
        width = PLANES * self.cells

        def shaped(column: Tensor) -> Tensor:
            parts = [column[span.start * width : span.end * width] for span in spans]
            return torch.cat(parts).view(-1, PLANES, self.cells)

        peak, weight, energy = shaped(self.peak), shaped(self.weight), shaped(self.energy)
        hits = shaped(self.hits)
        reached = hits > 0
        background = weight.new_zeros((len(weight), 1, 1))
        if any(one is not None for one in backgrounds):
            counts = torch.tensor([span.end - span.start for span in spans])
            soft = torch.tensor([one is not None for one in backgrounds])
            soft = soft.repeat_interleave(counts).view(-1, 1, 1).to(hits.device)
            background = torch.tensor([one or 0.0 for one in backgrounds], dtype=weight.dtype)
            background = background.repeat_interleave(counts).view(-1, 1, 1).to(hits.device)
            reached = torch.where(soft, weight > 0, reached)
            peak = peak.masked_fill(soft, 0.0)
        top = peak.amax(dim=1, keepdim=True)
        scale = torch.where(reached, exponential(peak - top), torch.zeros_like(peak))
        both_weight = (weight * scale).sum(dim=1)
        both_energy = (energy * scale).sum(dim=1)
        surface = _mean(both_energy, both_weight, background[:, 0])
        return Surfaces(surface, _mean(energy, weight, background), hits, reached)


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
    """Energies and scores of the surface cells of some samples; unreached cells hold 0.

    Attributes:
        surface: energies of both planes together, [B, S].
        planes: energies of each plane alone, [B, P, S].
        hits: number of scores, int64 [B, P, S].
        reached: whether a score touches the cell, bool [B, P, S].
    """

    surface: Tensor
    planes: Tensor
    hits: Tensor
    reached: Tensor


def _shares(aggregation_K: Tensor, weight_K: Tensor, peak_K: Tensor) -> Tensor:
    """Return c of each score by its aggregation mode, relative to exp(peak) where there is one."""
    return torch.where(aggregation_K == LEGACY, weight_K, exponential(weight_K - peak_K))


def _mean(energy: Tensor, weight: Tensor, background: Tensor) -> Tensor:
    # The inner where keeps 0/0 out of the gradient too.
    some = weight > 0
    return torch.where(some, energy / torch.where(some, weight + background, 1.0), 0.0)
