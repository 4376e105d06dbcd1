"""Retrieval with the model as it is, a few rows at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import Retrieval, retrieval
from energy_flow.training.unroll import QUIET


class Measurement:
    """Predicts rows in parts, so that whoever drives it can do other things in between.

    Args:
        pairs: rows to predict and to look up. size: rows of a part.
    """

    def __init__(self, pairs: Pairs, size: int) -> None:
        self.pairs = pairs
        self._size = size
        self._predicted: list[NDArray[np.float32]] = []

    @property
    def done(self) -> int:
        """Rows predicted."""
        return sum(map(len, self._predicted))

    @property
    def is_complete(self) -> bool:
        """Whether all rows are predicted."""
        return self.done == len(self.pairs)

    def advance(self, processor: FlowProcessor) -> None:
        """Predicts the next part, as a run of the model by its own config would.

        Raises:
            NonFiniteError: the networks gave a flow a number that is not finite.
        """
        part = self.pairs.take(np.arange(self.done, min(self.done + self._size, len(self.pairs))))
        result = processor.eval().simulate(
            part.inputs, options=QUIET, sample_keys=part.rows.tolist(), outputs=("embedding",)
        )
        self._predicted.append(result.outputs["embedding"])

    def figures(self) -> Retrieval:
        """What all predictions together are worth."""
        return retrieval(np.concatenate(self._predicted), self.pairs.targets)
