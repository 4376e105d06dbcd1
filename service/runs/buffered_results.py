"""The results of a run in memory, for a caller who waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.trace.records import COLUMN_DTYPES

# Counters in the JSON data of a sample, roughly.
_NUMBERS_PER_SAMPLE = 40


@dataclass
class BufferedResults:
    """The outputs, trace records and counters of all chunks so far.

    Attributes:
        inline: Most trace records that are held; further ones are only counted.
        outputs: Of each chunk, arrays by name, of shape [samples of the chunk, ...].
        records: Of each chunk, columns of trace records by name.
        samples: Counters of each sample, as JSON data.
        record_count: Number of trace records, held or not.
    """

    inline: int
    outputs: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    records: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    record_count: int = 0

    @property
    def held_records(self) -> int:
        """Number of trace records that are held."""
        return min(self.record_count, self.inline)

    @property
    def array_numbers(self) -> int:
        """Count of numbers in the outputs and the records."""
        outputs = sum(array.size for chunk in self.outputs for array in chunk.values())
        return outputs + len(COLUMN_DTYPES) * self.held_records

    @property
    def sample_numbers(self) -> int:
        """Approximate count of numbers in the counters of the samples."""
        return _NUMBERS_PER_SAMPLE * len(self.samples)

    def joined_outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of all chunks by name, of shape [samples, ...]."""
        if len(self.outputs) == 1:
            return dict(self.outputs[0])
        return {
            name: np.concatenate([chunk[name] for chunk in self.outputs])
            for name in self.outputs[0]
        }

    def joined_records(self) -> dict[str, NDArray[Any]]:
        """Return the held trace records of all chunks as columns by name."""
        return {
            name: np.concatenate([part[name] for part in self.records]) for name in COLUMN_DTYPES
        }

    def add(
        self,
        outputs: Mapping[str, NDArray[Any]],
        columns: Mapping[str, NDArray[Any]],
        samples: list[dict[str, Any]],
    ) -> None:
        """Add the next chunk.

        Args:
            outputs: Arrays by name, of shape [samples of the chunk, ...].
            columns: Columns of trace records by name.
            samples: Counters of each sample.
        """
        self.outputs.append(dict(outputs))
        self.samples += samples
        room = max(self.inline - self.record_count, 0)
        self.record_count += len(columns["seq"])
        self.records.append({name: column[:room] for name, column in columns.items()})
