"""Runs on a pretended device: nothing meets the host's memory unasked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.choices import Precision
from tests.support.pretended_device import (
    DeviceWatch,
    move_to_pretended_device,
    pretended_device,
)
from tests.support.small_model import LIVELY, OUTPUTS, make_varied, small_config, with_weights
from tests.support.small_training import WIDTH

ROUNDING = 1e-4
"""Of sums of float32 in another order, in the steps of a run."""

RING_IS_READ = ("to device at ring.py read", "to host at ring.py read")

RUNS: dict[str, dict[str, Any]] = {
    "every kind of event": {},
    "no trace": {"trace.capacity": 0},
    "a ring that overflows": {"trace.capacity": 16},
    "a lossless trace": {"trace.capacity": 16, "trace.keep": "lossless"},
    "no spawning, no noise": {"spawn.mode": "off", "noise_std": 0.0},
    "convergence": {"convergence.enabled": True},
}


def copy_model(precision: str) -> FlowProcessor:
    """Return a small model with very different flows, whose weights may be moved."""
    weights = {name: value.numpy() for name, value in make_varied().state_dict().items()}
    return with_weights(small_config(precision=precision), weights)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def models(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[FlowProcessor, FlowProcessor, DeviceWatch]]:
    """Yield a model on the CPU, the same on the pretended device, and what is seen there."""
    plain, moved = copy_model(request.param), copy_model(request.param)
    plain.prepare()
    with pretended_device() as watch:
        move_to_pretended_device(moved)
        moved.prepare()
        yield plain, moved, watch


def simulate(
    processor: FlowProcessor, watch: DeviceWatch, options: dict[str, Any]
) -> tuple[SimulationResult, int]:
    """Return the result of a batch and the number of its steps."""
    rows = np.random.default_rng(4).standard_normal((3, WIDTH)).astype(np.float32)
    watch.begin("start")
    state = processor.start(rows, options=options, seed=3)
    steps = 0
    watch.begin("step")
    while state.active_flows:
        state = processor.step(state)
        steps += 1
    watch.begin("finish")
    (cohort,) = state.cohorts
    return processor.finish(state, cohort, OUTPUTS), steps


@pytest.mark.parametrize("kind", RUNS)
def test_a_step_copies_one_result_to_the_host_and_waits_for_nothing_else(
    models: tuple[FlowProcessor, FlowProcessor, DeviceWatch], kind: str
) -> None:
    plain, moved, watch = models
    options = {**LIVELY, **RUNS[kind]}
    expected, _ = simulate(plain, watch, options)
    result, steps = simulate(moved, watch, options)
    assert watch.mixtures == {}
    assert watch.of_phase(watch.waits, "step") == {}
    transfers = watch.of_phase(watch.transfers, "step")
    # A lossless trace empties full rings.
    empties = {at: transfers.pop(at, 0) for at in RING_IS_READ}
    assert all(empties.values()) == (kind == "a lossless trace")
    assert transfers == {"to host at step.py advance": steps}
    if moved.config.precision is Precision.BFLOAT16:
        # Sums that are rounded to 8 bits in another order lead flows elsewhere.
        return
    found, wanted = result.metrics.counters, expected.metrics.counters
    assert (found.completed, found.spawned) == (wanted.completed, wanted.spawned)
    assert (found.terminated, found.planes) == (wanted.terminated, wanted.planes)
    for name, values in expected.outputs.items():
        np.testing.assert_allclose(result.outputs[name], values, rtol=ROUNDING, atol=ROUNDING)


def test_a_watch_sees_mixtures_waits_and_copies() -> None:
    with pretended_device() as watch:
        ones = torch.ones(3, device="cuda:0")
        assert ones.device == torch.device("cuda", 0)
        watch.begin("step")
        assert (ones + torch.ones(3, device="cuda:0")).tolist() == [2, 2, 2]
        assert bool((ones > 0).all())
        ones + torch.ones(3)
        with pytest.raises(RuntimeError):
            ones.numpy()
    assert [operation for operation, _ in watch.mixtures] == ["aten.add.Tensor"]
    assert list(watch.of_phase(watch.waits, "step").values()) == [1]
    assert list(watch.of_phase(watch.transfers, "step").values()) == [1]
    # Ones, a sum, a comparison, whether all hold, and the sum of both devices.
    assert sum(watch.launches.values()) - watch.launches["elsewhere", ""] == 5
