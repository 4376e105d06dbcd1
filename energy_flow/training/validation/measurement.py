"""``Measurement``: retrieval with the present model, a few rows at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import Retrieval, retrieval
from energy_flow.training.unroll import UNTRACED


class Measurement:
    """Predictions for rows in parts, so that other work can be done in between.

    Args:
        pairs: rows to predict and to retrieve.
        size: number of rows of a part.

    Attributes:
        pairs: as given.
    """

    def __init__(self, pairs: Pairs, size: int) -> None:
        self.pairs = pairs
        self._size = size
        self._predicted: list[NDArray[np.float32]] = []

    @property
    def done(self) -> int:
        """Number of rows predicted."""
        return sum(map(len, self._predicted))

    @property
    def is_complete(self) -> bool:
        """Whether all rows are predicted."""
        return self.done == len(self.pairs)

    def advance(self, processor: FlowProcessor) -> None:
        """Predict the next part, by the model's own config.

        Args:
            processor: the model, the same for all parts.

        Raises:
            NonFiniteError: the networks gave a flow a number that is not finite.
        """
        part = self.pairs.take(np.arange(self.done, min(self.done + self._size, len(self.pairs))))
        result = processor.eval().simulate(
            part.inputs, options=UNTRACED, sample_keys=part.rows.tolist(), outputs=("embedding",)
        )
        self._predicted.append(result.outputs["embedding"])

    def figures(self) -> Retrieval:
        """Return the figures of all predictions so far."""
        return retrieval(np.concatenate(self._predicted), self.pairs.targets)
