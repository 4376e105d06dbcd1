"""A simulation as the command line requests it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.cli.execute.embeddings_file import RowRange


@dataclass(frozen=True, slots=True)
class Job:
    """How to simulate, in this process or on a server.

    Attributes:
        fields: fields of the config by dotted name.
        seed: of the noise; that of the config if not given.
        outputs: names of :class:`energy_flow.choices.Output`.
    """

    fields: Mapping[str, Any]
    seed: int | None
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileJob(Job):
    """Samples from a file.

    Attributes:
        embeddings: [samples, dimension].
        sample_keys: one for each sample.
    """

    embeddings: NDArray[Any]
    sample_keys: list[int]


@dataclass(frozen=True, slots=True)
class DatasetJob(Job):
    """Samples from a dataset of a server.

    Attributes:
        dataset: name of the dataset.
        rows: which of its rows.
    """

    dataset: str
    rows: RowRange
