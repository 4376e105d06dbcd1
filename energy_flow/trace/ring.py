"""The ring buffers of trace records, on the device.

Every sample has a ring of its own: a span of one shared array, so that one scatter writes the
records of a step for all samples of a pool. Nothing here waits for the device except reading.

Shape legend: R records that the shared array can hold, K records written, B samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.trace.records import COLUMN_DTYPES

WORDS = 13
"""32-bit words of a stored record: seq, flow, parent (2 each), step, kinds, and five floats."""
RECORD_BYTES = 4 * WORDS


@dataclass(frozen=True, slots=True)
class NewRecords:
    """Records of one step and kind; columns [K].

    ``place`` is the row in the shared array; the others are the columns of ``records.COLUMNS``.
    """

    place: Tensor
    seq: Tensor
    step: Tensor
    kind: int
    flow: Tensor
    parent: Tensor
    code: Tensor
    plane: Tensor
    position: Tensor
    energy: Tensor
    length: Tensor

    def pack(self) -> Tensor:
        """Return the records as 32-bit words, int32 [K, WORDS]."""
        int64_K3 = torch.stack((self.seq, self.flow, self.parent), dim=1).view(torch.int32)
        int32_K2 = torch.stack(
            (self.step, self.kind | (self.code << 8) | ((self.plane & 0xFF) << 16)), dim=1
        ).to(torch.int32)
        floats = torch.cat(
            (self.position, self.energy.unsqueeze(1), self.length.unsqueeze(1)), dim=1
        ).to(torch.float32)
        return torch.cat((int64_K3, int32_K2, floats.view(torch.int32)), dim=1)


@dataclass(frozen=True, slots=True)
class RingBounds:
    """Sequence numbers that survive a step: those in [low, high), int64 [B] each."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, total: Tensor, capacity: Tensor, latest: Tensor, lossless: Tensor) -> RingBounds:
        """Return the bounds after a step.

        All records of a lossless sample survive: its ring is read out before it overflows.

        Args:
            total: records that each sample has counted after the step, int64 [B].
            capacity: records that its ring can hold, int64 [B].
            latest: whether the ring keeps the latest records, bool [B].
            lossless: whether it keeps all records, bool [B].
        """
        low = torch.where(latest, (total - capacity).clamp(min=0), 0)
        return cls(low, torch.where(latest | lossless, total, torch.minimum(total, capacity)))

    def overlap(self, first: Tensor, count: Tensor) -> Tensor:
        """Return how many of ``count`` consecutive numbers from ``first`` survive, int64 [B]."""
        begin = torch.maximum(first, self.low)
        return (torch.minimum(first + count, self.high) - begin).clamp(min=0)


class TraceRing:
    """The shared array of rings, int32 [R, WORDS]."""

    def __init__(self, device: torch.device) -> None:
        self._words = torch.empty((0, WORDS), dtype=torch.int32, device=device)

    @property
    def words(self) -> Tensor:
        """Return the shared array."""
        return self._words

    @property
    def records(self) -> int:
        """Return R."""
        return self._words.shape[0]

    @property
    def bytes(self) -> int:
        """Return the bytes of the shared array."""
        return self._words.numel() * 4

    def resize(self, records: int) -> None:
        """Make the array hold ``records`` records; those within both sizes stay."""
        kept = min(records, self._words.shape[0])
        words = self._words.new_empty((records, WORDS))
        words[:kept] = self._words[:kept]
        self._words = words

    def write(self, batches: list[NewRecords]) -> None:
        """Write records at their places in one scatter; no place may occur twice."""
        places = torch.cat([batch.place for batch in batches])
        self._words.index_copy_(0, places, torch.cat([batch.pack() for batch in batches]))

    def read(
        self,
        start: NDArray[np.int64],
        capacity: NDArray[np.int64],
        total: NDArray[np.int64],
        first: NDArray[np.int64],
        sample: NDArray[np.int64],
    ) -> dict[str, NDArray[Any]]:
        """Return the records of rings, one ring after the other, each sorted by ``seq``.

        Args:
            start: first place of each ring, int64 [B].
            capacity: records that each ring can hold, int64 [B].
            total: records that each sample has counted, int64 [B].
            first: first ``seq`` to read of each sample, int64 [B]; from it on, the ring holds
                ``total - first`` records, at most ``capacity``.
            sample: number of each sample, int64 [B].
        """
        held = np.minimum(total - first, capacity)
        ring = np.repeat(np.arange(len(total)), held)
        within = np.arange(len(ring)) - np.repeat(np.cumsum(held) - held, held)
        seq = first[ring] + within
        places = torch.from_numpy(start[ring] + seq % np.maximum(capacity, 1)[ring])
        words = self._words.index_select(0, places.to(self._words.device)).cpu().numpy()
        return _columns(words, sample[ring])


def _columns(words: NDArray[np.int32], sample: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    int64_K3 = np.ascontiguousarray(words[:, :6]).view(np.int64)
    floats = np.ascontiguousarray(words[:, 8:]).view(np.float32)
    kinds = words[:, 7]
    raw: dict[str, NDArray[Any]] = {
        "seq": int64_K3[:, 0],
        "step": words[:, 6],
        "kind": kinds & 0xFF,
        "sample": sample,
        "flow": int64_K3[:, 1],
        "parent": int64_K3[:, 2],
        "code": (kinds >> 8) & 0xFF,
        "plane": ((kinds >> 16) & 0xFF).astype(np.uint8).view(np.int8),
        **{name: floats[:, i] for i, name in enumerate(("x", "y", "z", "energy", "length"))},
    }
    return {name: raw[name].astype(dtype) for name, dtype in COLUMN_DTYPES.items()}
