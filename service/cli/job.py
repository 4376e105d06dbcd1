"""A simulation that was asked for on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Job:
    """What to simulate, wherever that happens.

    Attributes:
        embeddings: [rows, dimension].
        sample_keys: one a row.
        fields: of the config, by dotted names.
    """

    embeddings: NDArray[Any]
    sample_keys: list[int]
    fields: Mapping[str, Any]
    seed: int | None
    outputs: tuple[str, ...]
