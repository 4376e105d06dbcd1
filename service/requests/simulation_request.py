"""``SimulationRequest``: a request to simulate that can be executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import names_of
from energy_flow.config.flow_config import FlowConfig
from service.plots.unreached_cells import add_marks
from service.schemas.simulate import RunFields, SimulateFields
from service.store.dataset_files import DatasetRows


@dataclass(frozen=True)
class SimulationRequest:
    """A valid request to simulate.

    Attributes:
        fields: Its members without embeddings and sample keys.
        config: The model's config with the request's options.
        embeddings: float32 [samples, embedding_dim], or rows of a dataset.
        sample_keys: int64 [samples]; ``None`` if the row indices are the keys.
        seed: Seed of the noise.
        options: The options with those of ``trace``, by dotted names or nested.
    """

    fields: SimulateFields
    config: FlowConfig
    embeddings: NDArray[np.float32] | DatasetRows
    sample_keys: NDArray[np.int64] | None
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples."""
        if isinstance(self.embeddings, DatasetRows):
            return self.embeddings.rows
        return len(self.embeddings)

    @property
    def dataset(self) -> DatasetRows | None:
        """The rows of a dataset that are the embeddings, if any."""
        return self.embeddings if isinstance(self.embeddings, DatasetRows) else None

    @property
    def dataset_name(self) -> str | None:
        """Name of the dataset that has the embeddings, if any."""
        return self.fields.dataset if isinstance(self.fields, RunFields) else None

    @property
    def keys(self) -> Sequence[int]:
        """Key of each sample: as sent, or the row's index in the request or in the dataset."""
        if self.sample_keys is not None:
            keys: list[int] = self.sample_keys.tolist()
            return keys
        first = 0 if self.dataset is None else self.dataset.first
        return range(first, first + self.samples)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs to compute: those of the request, and what its store has besides."""
        return (
            add_marks(self.fields.outputs) if self.fields.store else names_of(self.fields.outputs)
        )

    @property
    def array(self) -> NDArray[np.float32] | None:
        """The embeddings of the request itself, if it has some."""
        return None if isinstance(self.embeddings, DatasetRows) else self.embeddings
