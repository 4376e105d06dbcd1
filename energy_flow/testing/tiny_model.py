"""A model that is built and run in milliseconds, and embeddings for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from energy_flow.config.flow_config import FlowConfig

TINY_FIELDS: Final[Mapping[str, int]] = {
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 4,
    "embedding_dim": 8,
    "mapper_hidden_dim": 16,
    "carrier_hidden_size": 16,
    "carrier_num_layers": 1,
}
"""Fields of a tiny model's config."""


def tiny_config(**fields: Any) -> FlowConfig:
    """Return the config of a tiny model.

    Args:
        **fields: other fields of the config; a group is given as a mapping of its fields.

    Raises:
        ConfigError: a field is unknown, or a value is refused.
    """
    from energy_flow.config.flow_config import FlowConfig

    return FlowConfig.from_dict({**TINY_FIELDS, **fields})


def tiny_embeddings(rows: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Return random embeddings for a tiny model, [rows, 8].

    Args:
        rows: number of the embeddings.
        seed: of the random numbers; equal seeds give equal embeddings.
    """
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, TINY_FIELDS["embedding_dim"])).astype(np.float32)
