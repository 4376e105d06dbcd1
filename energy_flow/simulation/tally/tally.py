"""The tally: what arrives at the exit planes, folded into surfaces as flows end.

A score of energy e and importance w in a cell counts as

- ``weighted_v2``: Σ softmax(w)ᵢ eᵢ over the cell's scores, kept as a running maximum and two
  running sums (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018);
- ``legacy``: Σ wᵢ eᵢ / Σ wᵢ, and 0 where Σ w = 0.

Sums run over segments of scores sorted by cell, in the order of flow ids, so that they round alike
wherever the scores sit; nothing is added atomically.

Shape legend: K scores, T = 2 · S cells of each tally slot and one more at the end, P = 2 planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.span_allocator import Span


@dataclass(frozen=True, slots=True)
class Scores:
    """Flows that ended at a plane in one step, in the order (sample, flow id).

    Attributes:
        slot: tally slot of the flow's sample, int64 [K]. plane: 0 z0, 1 zdepth, int64 [K].
        cell: surface index, int64 [K]. energy: e', [K].
        weight: importance, [K]. legacy: aggregation mode of the sample, bool [K].
    """

    slot: Tensor
    plane: Tensor
    cell: Tensor
    energy: Tensor
    weight: Tensor
    legacy: Tensor


@dataclass(frozen=True, slots=True)
class Tally:
    """Running sums of every slot, plane and cell; flat columns [T].

    The last cell takes what belongs to none, so that shapes need not depend on the data.

    Attributes:
        cells: S. peak: largest w so far. weight: Σ of weights relative to the peak.
        energy: Σ of weighted energies. hits: number of scores, int64.
    """

    cells: int
    peak: Tensor
    weight: Tensor
    energy: Tensor
    hits: Tensor

    @classmethod
    def empty(cls, cells: int, dtype: torch.dtype, device: torch.device) -> Tally:
        """A tally without slots."""
        zero = torch.zeros(1, dtype=dtype, device=device)
        hits = torch.zeros(1, dtype=torch.int64, device=device)
        return cls(cells, torch.full_like(zero, -torch.inf), zero, zero, hits)

    @property
    def slots(self) -> int:
        """Samples there is room for."""
        return (self.hits.shape[0] - 1) // (2 * self.cells)

    def resized(self, slots: int) -> Tally:
        """With room for ``slots`` slots; those that stay keep their sums."""
        kept = min(slots, self.slots) * 2 * self.cells
        length = slots * 2 * self.cells + 1

        def resize(column: Tensor, empty: float) -> Tensor:
            rest = column.new_full((length - kept,), empty)
            return torch.cat((column[:kept], rest))

        return Tally(
            self.cells,
            resize(self.peak, -torch.inf),
            resize(self.weight, 0.0),
            resize(self.energy, 0.0),
            resize(self.hits, 0),
        )

    def cleared(self, spans: Sequence[Span]) -> Tally:
        """With the slots of some stretches as they were before any score."""
        width = 2 * self.cells

        def clear(column: Tensor, empty: float) -> Tensor:
            column = column.clone()
            for span in spans:
                column[span.start * width : span.end * width] = empty
            return column

        return Tally(
            self.cells,
            clear(self.peak, -torch.inf),
            clear(self.weight, 0.0),
            clear(self.energy, 0.0),
            clear(self.hits, 0),
        )

    def folded(self, scores: Scores) -> Tally:
        """With these scores counted in."""
        count = scores.cell.shape[0]
        if count == 0:
            return self
        key_K = (scores.slot * 2 + scores.plane) * self.cells + scores.cell
        key_K, order_K = torch.sort(key_K, stable=True)
        opens_K = torch.ones_like(key_K, dtype=torch.bool)
        opens_K[1:] = key_K[1:] != key_K[:-1]
        segment_K = opens_K.cumsum(0) - 1
        length_K = torch.zeros_like(key_K).scatter_add_(0, segment_K, torch.ones_like(key_K))
        # One entry a segment; the rest of the K entries point at the cell that belongs to none.
        where_K = torch.full_like(key_K, self.hits.shape[0] - 1).scatter_(0, segment_K, key_K)
        energy_K = scores.energy.index_select(0, order_K)
        weight_K = scores.weight.index_select(0, order_K)
        legacy_K = scores.legacy.index_select(0, order_K)

        old_peak_K = self.peak.index_select(0, where_K)
        step_peak_K = torch.segment_reduce(weight_K.detach(), "max", lengths=length_K, unsafe=True)
        legacy_segment_K = torch.zeros_like(legacy_K).scatter_(0, segment_K, legacy_K)
        peak_K = torch.maximum(old_peak_K, step_peak_K)
        peak_K = torch.where(legacy_segment_K | (length_K == 0), torch.zeros_like(peak_K), peak_K)
        scale_K = torch.where(legacy_segment_K, 1.0, exponential(old_peak_K - peak_K))
        share_K = torch.where(
            legacy_K, weight_K, exponential(weight_K - peak_K.index_select(0, segment_K))
        )
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
        """Surfaces of the slots of some stretches, one stretch after the other."""
        width = 2 * self.cells

        def shaped(column: Tensor) -> Tensor:
            parts = [column[span.start * width : span.end * width] for span in spans]
            return torch.cat(parts).view(-1, 2, self.cells)

        peak, weight, energy = shaped(self.peak), shaped(self.weight), shaped(self.energy)
        hits = shaped(self.hits)
        top = peak.amax(dim=1, keepdim=True)
        scale = torch.where(hits > 0, exponential(peak - top), torch.zeros_like(peak))
        both_weight = (weight * scale).sum(dim=1)
        both_energy = (energy * scale).sum(dim=1)
        return Surfaces(_mean(both_energy, both_weight), _mean(energy, weight), hits)


@dataclass(frozen=True, slots=True)
class Surfaces:
    """What a tally says.

    Attributes:
        surface: both planes together, [B, S]. planes: each alone, [B, P, S].
        hits: number of scores, int64 [B, P, S]. Cells without a score hold 0.
    """

    surface: Tensor
    planes: Tensor
    hits: Tensor


def importance(energy_K: Tensor, distance_K: Tensor, age_K: Tensor) -> Tensor:
    """``w = |e'| / (1 + distance) · (1 + 0.1 · age)``, [K]."""
    return energy_K.abs() / (1.0 + distance_K) * (1.0 + 0.1 * age_K.to(energy_K.dtype))


def exponential(x: Tensor) -> Tensor:
    """eˣ, rounded once from float64: the last bit must not depend on an element's place."""
    return x.to(torch.float64).exp().to(x.dtype)


def _mean(energy: Tensor, weight: Tensor) -> Tensor:
    # The inner where keeps 0/0 out of the gradient too.
    some = weight > 0
    return torch.where(some, energy / torch.where(some, weight, 1.0), 0.0)
