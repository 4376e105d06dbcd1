"""Memory predicted from shapes: never less than the graph needs, and refused in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowConfig, FlowProcessor
from energy_flow.errors import ConfigError
from energy_flow.training import Trainer
from energy_flow.training.footprint import max_flows_by_step, train_footprint
from energy_flow.training.gradient_modes import BackPropagationConfig
from energy_flow.training.start import model_of
from tests.energy_flow.training.test_unroll import SAMPLES, saved_bytes, saved_bytes_of
from tests.support.small_model import CELLS, LIVELY, small_config
from tests.support.small_training import WIDTH, pairs, training_config

CPU = torch.device("cpu")
MODES: dict[str, dict[str, Any]] = {
    "full": {"mode": "full"},
    "checkpointed": {"mode": "checkpointed"},
    "truncated": {"mode": "truncated", "steps": 2},
}


def graph(model: FlowConfig, mode: str, **fields: Any) -> int:
    config = training_config(back_propagation=MODES[mode], **fields)
    return train_footprint(config, model, 32, CPU).graph


def test_upper_bounds_of_flows() -> None:
    childless = small_config(max_steps=6, projection_age=3).replace({"spawn.mode": "off"})
    assert max_flows_by_step(childless) == [CELLS] * 3
    spawning = small_config(max_steps=6, projection_age=3, max_active_flows=40)
    spawning = spawning.replace({"spawn.max_children": 1})
    assert max_flows_by_step(spawning) == [16, 32, 40, 40, 40, 40]


@pytest.mark.parametrize("mode", MODES)
def test_a_graph_is_within_the_prediction(mode: str) -> None:
    config = BackPropagationConfig.model_validate(MODES[mode])
    model = small_config().replace(LIVELY)
    predicted = graph(model, mode, batch__rows=SAMPLES)
    # Weights are counted on their own; a small model's graph holds them too.
    weights = train_footprint(training_config(), model, 0, CPU).weights
    assert saved_bytes(config) <= predicted + weights


@pytest.mark.parametrize("planes", ["merged", "both"])
@pytest.mark.parametrize("mapper", ["linear", "identity"])
def test_a_graph_of_soft_deposits_is_within_the_prediction(mapper: str, planes: str) -> None:
    """In one step, in which every flow scores and little else is kept."""
    config = {"lattice_width": 24, "lattice_height": 24, "embedding_dim": 576, "mapper": mapper}
    narrow = dict.fromkeys(("neuron_hidden_dim", "neuron_output_dim", "carrier_hidden_size"), 2)
    model = FlowConfig.from_dict(
        {
            **config,
            **narrow,
            "carrier_num_layers": 1,
            "output_planes": planes,
            "energy_update": "residual",
            "aggregation_mode": "splat",
            "field_strength": 0.5,
            "max_steps": 1,
            "spawn.mode": "off",
            "convergence.enabled": False,
        }
    )
    inputs = np.random.default_rng(0).standard_normal((SAMPLES, 576)).astype(np.float32)
    kept = saved_bytes_of(
        FlowProcessor(model), inputs, BackPropagationConfig.model_validate(MODES["checkpointed"])
    )
    predicted = train_footprint(
        training_config(back_propagation=MODES["checkpointed"], batch__rows=SAMPLES), model, 0, CPU
    )
    assert kept <= predicted.graph + predicted.weights + predicted.batch


def test_widths_of_rows_count_on_their_own() -> None:
    def batch(**fields: Any) -> int:
        return train_footprint(training_config(), small_config(**fields), 1000, CPU).batch

    narrow, wide_targets, wide = batch(), batch(output_dim=108), batch(embedding_dim=108)
    # Twice 1,000 rows of 100 more numbers of 4 bytes.
    assert wide_targets - narrow >= 800_000
    assert wide - narrow == 2 * (wide_targets - narrow)
    cells = batch(mapper="linear")
    assert cells < narrow


def test_long_unrolls_stay_in_bounds() -> None:
    """In the truncated mode only the states between windows grow with the number of steps."""
    short, long = (
        small_config(max_steps=steps, projection_age=4, carrier_hidden_size=256)
        for steps in (8, 80)
    )
    growth = {mode: graph(long, mode) - graph(short, mode) for mode in MODES}
    assert growth["checkpointed"] < growth["full"] / 3
    assert growth["truncated"] < growth["checkpointed"]


def test_accumulation_needs_less() -> None:
    model = small_config()
    whole, parts = (
        train_footprint(training_config(batch__accumulation=count), model, 32, CPU)
        for count in (1, 4)
    )
    assert parts.graph == pytest.approx(whole.graph / 4, abs=4)
    assert parts.weights == whole.weights


def test_a_training_that_may_not_fit_is_refused_with_modes_that_do() -> None:
    config = training_config(model__config__max_steps=60, model__config__carrier_hidden_size=64)
    processor = model_of(config, WIDTH)
    needed = {
        mode: train_footprint(
            config.replace({"back_propagation": settings}), processor.config, 32, CPU
        ).total
        for mode, settings in MODES.items()
    }
    limit = needed["full"] - 1
    with pytest.raises(ConfigError) as refusal:
        Trainer(config, processor, pairs(), memory_limit_bytes=limit)
    (fault,) = refusal.value.faults
    assert f"{needed['full']:,} bytes" in fault.msg
    assert "checkpointed or truncated with 2 steps" in fault.msg
    assert fault.got["limit_bytes"] == limit
    Trainer(config, processor, pairs(), memory_limit_bytes=needed["full"])
