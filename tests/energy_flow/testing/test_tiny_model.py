"""The tiny model: its config is accepted, and its embeddings can be simulated."""

from __future__ import annotations

import numpy as np
import pytest

from energy_flow import FlowProcessor
from energy_flow.errors import ConfigError
from energy_flow.testing import TINY_FIELDS, tiny_config, tiny_embeddings


def test_the_tiny_model_simulates_tiny_embeddings() -> None:
    result = FlowProcessor(tiny_config(max_steps=3)).simulate(tiny_embeddings(2))
    height, width = TINY_FIELDS["lattice_height"], TINY_FIELDS["lattice_width"]
    assert result.outputs["surface"].shape == (2, height, width)


def test_fields_replace_those_of_the_tiny_model() -> None:
    assert tiny_config(lattice_depth=6, spawn={"mode": "off"}).lattice_depth == 6
    with pytest.raises(ConfigError):
        tiny_config(nonsense=1)


def test_equal_seeds_give_equal_embeddings() -> None:
    assert np.array_equal(tiny_embeddings(3, seed=4), tiny_embeddings(3, seed=4))
    assert not np.array_equal(tiny_embeddings(3, seed=4), tiny_embeddings(3, seed=5))
