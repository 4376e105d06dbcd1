"""``SpilledRecords``: what the rings of a lossless cohort have written out, on the host.

A lossless sample's ring has room for all records of any one step. Before a step writes records that
would run over some that are still in the ring, the cohort's rings are read out, so that nothing is
ever overwritten. How many records a step makes is known on the host before they are written.

Shape legend: B samples of one cohort.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES
from energy_flow.trace.ring import TraceRing

Columns = dict[str, NDArray[Any]]


class SpilledRecords:
    """Records of consecutive rings, in the order in which they were written out.

    Args:
        capacity: records a ring.
    """

    def __init__(self, samples: int, capacity: int) -> None:
        self._capacity = capacity
        self._written = np.zeros(samples, dtype=np.int64)
        self._parts: list[Columns] = []

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.nbytes for part in self._parts for column in part.values())

    def make_room(
        self, ring: TraceRing, start: int, counted: NDArray[np.int64], coming: NDArray[np.int64]
    ) -> None:
        """Reads the rings out, if one of them has no room for what is coming.

        Args:
            start: place of the first ring.
            counted: records each sample has counted so far. coming: those of the step, [B].
        """
        if (counted - self._written + coming > self._capacity).any():
            self._parts.append(self._read(ring, start, counted, 0))
            self._written = counted.copy()

    def joined(
        self, ring: TraceRing, start: int, counted: NDArray[np.int64], sample: int
    ) -> Columns:
        """All records, with those that are still in the rings, sorted by (sample, seq).

        Args:
            sample: number of the first sample.
        """
        parts = [*self._parts, self._read(ring, start, counted, 0)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMN_DTYPES}
        order = np.lexsort((columns["seq"], columns["sample"]))
        columns = {name: column[order] for name, column in columns.items()}
        columns["sample"] += np.int32(sample)
        return columns

    def _read(
        self, ring: TraceRing, start: int, counted: NDArray[np.int64], sample: int
    ) -> Columns:
        index = np.arange(len(counted))
        capacity = np.full_like(counted, self._capacity)
        places = start + index * self._capacity
        return ring.read(places, capacity, counted, self._written, sample + index)
