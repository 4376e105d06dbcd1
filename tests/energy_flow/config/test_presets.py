"""The presets: their fields, and how an untrained ``debug`` behaves on real embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from energy_flow import FlowConfig, FlowProcessor
from energy_flow.config.presets import PRESETS, debug, preset
from energy_flow.errors import ConfigError
from tests.support.repository import EXAMPLES
from tests.support.small_model import finish

EMBEDDINGS = EXAMPLES / "data" / "wordnet_256.safetensors"
ROWS = 8
NAMES = ("debug", "experiment", "optimized")
TABLE: dict[str, tuple[Any, Any, Any]] = {
    "lattice_width": (20, 28, 100),
    "lattice_height": (20, 28, 100),
    "lattice_depth": (10, 60, 50),
    "embedding_dim": (768, 768, 768),
    "mapper_hidden_dim": (1024, 1024, 1024),
    "neuron_hidden_dim": (32, 32, 32),
    "neuron_output_dim": (64, 64, 64),
    "carrier_hidden_size": (256, 512, 1024),
    "carrier_num_layers": (2, 3, 3),
    "precision": ("float32", "bfloat16", "bfloat16"),
    "max_displacement": (0.5, 0.5, 0.5),
    "noise_std": (0.25, 0.2, 0.1),
    "noise_on_z": (True, True, True),
    "boundary": ("reflect", "reflect", "reflect"),
    "min_displacement": (0, 0, 0),
    "projection_age": (None, None, None),
    "max_steps": (None, None, None),
    "spawn.mode": ("threshold", "threshold", "threshold"),
    "spawn.percentile": (95, 95, 95),
    "spawn.max_children": (1, 1, 3),
    "convergence.enabled": (True, True, True),
    "convergence.threshold": (0.8, 0.95, 0.95),
    "convergence.min_steps": (3, 5, 5),
    "convergence.window": (5, 5, 5),
    "convergence.patience": (5, 8, 12),
    "convergence.min_improvement": (0.01, 0.01, 0.01),
    "aggregation_mode": ("weighted_v2",) * 3,
    "trace.capacity": (4096, 4096, 16384),
    "trace.keep": ("latest",) * 3,
    "trace.kinds": (["spawn", "reflect", "terminate"],) * 3,
    "deterministic": (False, False, False),
    "batch_invariant": (True, True, True),
    "seed": (0, 0, 0),
    "model_seed": (0, 0, 0),
    "coord_version": (2, 2, 2),
}


@pytest.mark.parametrize("name", NAMES)
def test_fields(name: str) -> None:
    config = PRESETS[name]()
    fields = config.to_dict()
    for field, values in TABLE.items():
        head, _, tail = field.partition(".")
        value = fields[head][tail] if tail else fields[head]
        assert value == values[NAMES.index(name)], field
    assert config.active_limit == (2 if name == "optimized" else 4) * config.surface_cells
    assert config.warnings() == ()


def test_thresholds_of_the_table() -> None:
    assert PRESETS["debug"]().spawn.threshold == 0.3
    assert PRESETS["experiment"]().spawn.threshold == 0.4
    assert PRESETS["debug"]().displacement_scale == 0.5


def test_by_name() -> None:
    assert tuple(PRESETS) == NAMES
    assert preset("debug") == debug() == FlowConfig()
    with pytest.raises(ConfigError, match="debug, experiment, optimized"):
        preset("fast")


def real_embeddings() -> NDArray[np.float32]:
    rows: NDArray[np.float32] = load_file(EMBEDDINGS)["inputs"].astype(np.float32)
    return rows


@pytest.mark.slow
def test_an_untrained_debug_model_is_lively() -> None:
    """Some of the rows: what holds for all of them takes longer than a test may."""
    x = real_embeddings()[:: 256 // ROWS]
    assert x.shape == (ROWS, 384)
    processor = FlowProcessor(debug().replace({"embedding_dim": 384}))
    state = processor.start(x)
    (cohort,) = state.cohorts
    cells, busiest = cohort.config.surface_cells, 0
    while state.active_flows:
        state = processor.step(state)
        busiest = max(busiest, int(cohort.ledger.active.max()))
    result = finish(processor, state, cohort)
    counters = result.metrics.counters
    counted = counters.to_dict()
    assert busiest < 2 * cells
    assert counted["reflected"] > 0
    assert counted["spawned"] > 0
    assert counted["terminated"]["projected"] > 0
    assert counted["created"] == counted["completed"] + counted["stalled"]
    assert counted["spawns_suppressed"] == 0
    for plane, count in counters.planes.items():
        assert count >= 0.01 * counters.completed, plane
    assert all(np.isfinite(value).all() for value in result.outputs.values())
    assert result.outputs["hits"].sum() == counters.completed
    assert result.trace.totals == {
        "spawn": counted["spawned"],
        "reflect": counted["reflected"],
        "terminate": counted["created"],
    }
    assert result.warnings == ()
