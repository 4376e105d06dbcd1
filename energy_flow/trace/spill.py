"""``SpilledRecords``: records that the rings of a lossless cohort have written out to the host.

The ring of a lossless sample can hold all records of any one step. Before a step would overwrite
records that are still in a ring, the rings of the cohort are read out, so that nothing is lost. How
many records a step makes is known on the host before they are written.

Shape legend: B samples of one cohort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES, Columns
from energy_flow.trace.ring import TraceRing


class SpilledRecords:
    """Records of consecutive rings, in the order in which they were written out.

    Args:
        samples: B.
        capacity: records that each ring can hold.
    """

    def __init__(self, samples: int, capacity: int) -> None:
        self._capacity = capacity
        self._written = np.zeros(samples, dtype=np.int64)
        self._parts: list[Columns] = []

    @property
    def nbytes(self) -> int:
        """Return the bytes of the records."""
        return sum(column.nbytes for part in self._parts for column in part.values())

    def make_room(
        self, ring: TraceRing, start: int, counted: NDArray[np.int64], coming: NDArray[np.int64]
    ) -> None:
        """Read the rings out if one of them cannot hold the records of a step.

        Args:
            ring: the shared array.
            start: first place of the first ring.
            counted: records that each sample has counted so far, int64 [B].
            coming: records of the step, int64 [B].
        """
        if (counted - self._written + coming > self._capacity).any():
            self._parts.append(self._read(ring, start, counted, 0))
            self._written = counted.copy()

    def read_all(
        self, ring: TraceRing, start: int, counted: NDArray[np.int64], sample: int
    ) -> Columns:
        """Return all records, also those in the rings, sorted by (sample, seq).

        Args:
            ring: the shared array.
            start: first place of the first ring.
            counted: records that each sample has counted, int64 [B].
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
