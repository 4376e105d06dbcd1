"""Batches of trainings on a pretended device: nothing meets the host's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from energy_flow.choices import BackPropagationMode
from energy_flow.training.gradients import backward
from energy_flow.training.start import model_of
from tests.support.pretended_device import move_to_pretended_device, pretended_device
from tests.support.small_training import WIDTH, pairs, training_config

ROUNDING = 1e-4
"""Of sums of float32 in another order, in the steps of a run."""

LOSSES: dict[str, dict[str, Any]] = {
    "row by row": {"cosine": {}, "mse": {"weight": 0.3}, "r2": {}, "surface": {"weight": 0.2}},
    "the surface alone": {"surface": {}},
    "negatives of the batch": {"info_nce": {}},
    "negatives of all rows": {"info_nce": {"negatives": "train"}},
}
MODES: dict[str, dict[str, Any]] = {
    mode.value: {
        "mode": mode.value,
        **({"steps": 2} if mode is BackPropagationMode.TRUNCATED else {}),
    }
    for mode in BackPropagationMode
}


NO_SCORES = {"min_displacement": 50.0}
SEVERAL_CHILDREN = {"spawn.threshold": 0.05, "spawn.max_children": 3}


@pytest.mark.parametrize(
    ("losses", "mode", "spawning"),
    [
        *((losses, mode, {}) for losses in LOSSES for mode in MODES),
        *(("row by row", mode, SEVERAL_CHILDREN) for mode in MODES),
        ("row by row", "full", NO_SCORES),
        ("the surface alone", "full", NO_SCORES),
    ],
)
def test_a_batch_of_a_training_stays_on_the_device(
    losses: str, mode: str, spawning: dict[str, Any]
) -> None:
    config = training_config(losses=LOSSES[losses], back_propagation=MODES[mode])
    options = {"displacement_scale": 0.5, "noise_std": 0.1, **spawning}
    index = np.arange(3, 11)
    expected = backward(model_of(config, WIDTH), config, pairs(), index, options, seed=5)
    processor = model_of(config, WIDTH)
    with pretended_device() as watch:
        move_to_pretended_device(processor)
        report = backward(processor, config, pairs(), index, options, seed=5)
    assert watch.mixtures == {}
    assert watch.unordered == {}
    assert report["loss"] == pytest.approx(expected["loss"], rel=ROUNDING)
    for part, norm in expected["gradient_norms"].items():
        assert report["gradient_norms"][part] == pytest.approx(norm, rel=1e-2), part
