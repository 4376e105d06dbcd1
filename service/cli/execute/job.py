"""A simulation that was asked for on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from service.cli.execute.embeddings_file import RowRange


@dataclass(frozen=True, slots=True)
class Job:
    """How to simulate, wherever that happens.

    Attributes:
        fields: of the config, by dotted names.
    """

    fields: Mapping[str, Any]
    seed: int | None
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileJob(Job):
    """Rows of a file.

    Attributes:
        embeddings: [rows, dimension].
        sample_keys: one a row.
    """

    embeddings: NDArray[Any]
    sample_keys: list[int]


@dataclass(frozen=True, slots=True)
class DatasetJob(Job):
    """Rows of a dataset that the server has."""

    dataset: str
    rows: RowRange
