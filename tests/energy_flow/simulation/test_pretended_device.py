"""Runs on a pretended device: nothing meets the host's memory unasked, and sums have an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.choices import Precision
from energy_flow.runtime.device import product_flags
from energy_flow.simulation.cohort import CohortRequest
from tests.support.pretended_device import (
    DeviceWatch,
    move_to_pretended_device,
    pretended_device,
)
from tests.support.small_model import (
    LIVELY,
    OUTPUTS,
    bits,
    find_differences,
    make_varied,
    small_config,
    with_weights,
)
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
    "soft deposition": {"aggregation_mode": "splat"},
    "percentile": {"spawn.mode": "percentile", "spawn.percentile": 70.0},
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
    assert watch.unordered == {}
    assert watch.of_phase(watch.waits, "step") == {}
    transfers = watch.of_phase(watch.transfers, "step")
    # A lossless trace empties full rings.
    empties = {at: transfers.pop(at, 0) for at in RING_IS_READ}
    assert all(empties.values()) == (kind == "a lossless trace")
    assert transfers == {"to host at step.py advance": steps}
    assert watch.readings["step"] == steps
    # The embeddings, and the options of the samples: of the empty pool, and of the full one.
    admission = watch.of_phase(watch.transfers, "start")
    assert admission == {"to device at packed_copy.py copy_together": 3}
    if moved.config.precision is Precision.BFLOAT16:
        # Sums that are rounded to 8 bits in another order lead flows elsewhere.
        return
    found, wanted = result.metrics.counters, expected.metrics.counters
    assert (found.completed, found.spawned) == (wanted.completed, wanted.spawned)
    assert (found.terminated, found.planes) == (wanted.terminated, wanted.planes)
    for name, values in expected.outputs.items():
        np.testing.assert_allclose(result.outputs[name], values, rtol=ROUNDING, atol=ROUNDING)


def test_cohorts_of_different_options_share_a_pool_without_waits(
    models: tuple[FlowProcessor, FlowProcessor, DeviceWatch],
) -> None:
    """Each has the bits that it has alone; one enters later, and others leave before the end."""
    _, moved, watch = models
    rows = np.random.default_rng(4).standard_normal((len(RUNS), WIDTH)).astype(np.float32)
    requests = [
        CohortRequest(rows[[row]], moved.config.with_options({**LIVELY, **options}), 3, [row])
        for row, options in enumerate(RUNS.values())
    ]
    expected = [run_together(moved, watch, [request])[0] for request in requests]
    found = run_together(moved, watch, requests)
    assert watch.mixtures == {}
    assert watch.unordered == {}
    for mine, alone in zip(found, expected, strict=True):
        assert not find_differences(bits(mine, 0), bits(alone, 0))


def test_a_split_run_has_the_bits_of_the_whole(
    models: tuple[FlowProcessor, FlowProcessor, DeviceWatch],
) -> None:
    _, moved, watch = models
    rows = np.random.default_rng(4).standard_normal((5, WIDTH)).astype(np.float32)
    config = moved.config.with_options(LIVELY)

    def part(first: int, stop: int) -> CohortRequest:
        return CohortRequest(rows[first:stop], config, 3, range(first, stop), first)

    (whole,) = run_together(moved, watch, [part(0, 5)])
    parts = run_together(moved, watch, [part(0, 2), part(2, 5)])
    assert watch.mixtures == {}
    samples = [(one, row) for one in parts for row in range(len(one.samples))]
    for number, (one, row) in enumerate(samples):
        assert not find_differences(bits(one, row), bits(whole, number))


def run_together(
    processor: FlowProcessor, watch: DeviceWatch, requests: list[CohortRequest]
) -> list[SimulationResult]:
    """Return the results of cohorts, of which the last enters after the first step."""
    watch.begin("start")
    state = processor.add_cohorts(processor.empty(), requests[:-1] or requests)
    late = requests[-1:] if len(requests) > 1 else []
    results: dict[tuple[int, ...], SimulationResult] = {}
    while state.active_flows:
        watch.begin("step")
        state = processor.step(state)
        transfers = watch.of_phase(watch.transfers, "step")
        once = {at: count for at, count in transfers.items() if at not in RING_IS_READ}
        assert once == {"to host at step.py advance": 1}
        assert watch.of_phase(watch.waits, "step") == {}
        watch.begin("other")
        if late:
            state = processor.add_cohorts(state, late)
            late = []
        ended = [cohort for cohort in state.cohorts if not cohort.active_flows]
        for cohort in ended:
            results[cohort.sample_keys] = processor.finish(state, cohort, OUTPUTS)
        if ended:
            state = state.without_cohorts(ended)
    return [results[tuple(request.sample_keys)] for request in requests]


def test_products_are_summed_in_float32_and_plans_depend_on_such_settings(
    models: tuple[FlowProcessor, FlowProcessor, DeviceWatch],
) -> None:
    _, moved, _ = models
    flags = torch.backends.cuda.matmul
    before = flags.allow_bf16_reduced_precision_reduction
    try:
        flags.allow_bf16_reduced_precision_reduction = True
        settings = product_flags()
        moved.prepare()
        assert not flags.allow_bf16_reduced_precision_reduction
        assert product_flags() != settings
    finally:
        flags.allow_bf16_reduced_precision_reduction = before


def test_a_watch_sees_sums_without_an_order() -> None:
    place = torch.tensor([0, 2, 2, 1])
    with pretended_device() as watch:
        index, rows = place.to("cuda:0"), torch.ones((4, 2), device="cuda:0")
        torch.zeros((3, 2), device="cuda:0").index_add_(0, index[:2], rows[:2])
        torch.zeros((3, 2), device="cuda:0").index_put_((index,), rows, accumulate=True)
        torch.zeros(3, device="cuda:0", dtype=torch.int64).index_add_(0, index, index)
        assert watch.unordered == {}
        torch.zeros((3, 2), device="cuda:0").index_add_(0, index, rows)
    assert [operation for operation, _ in watch.unordered] == ["aten.index_add_.default"]


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
