"""Heights of blocks: what they waste, what their trial takes, and what happens without some."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow import FlowProcessor
from energy_flow.choices import Precision, Preset
from energy_flow.config.presets import preset as find_preset
from energy_flow.model.block_plan import (
    DEVICE_CALL_ROWS,
    PROBE_ROWS,
    BlockPlan,
    device_heights,
    try_heights,
)
from energy_flow.model.hidden_state import Hidden
from energy_flow.model.networks import STEP_ROWS, Networks
from tests.support.pretended_device import move_to_pretended_device, pretended_device

FULL = STEP_ROWS["cuda"]
WASTE = 1.15
"""Rows computed for each that there is, in a whole run on a device."""

RATES = {torch.bfloat16: 790e12, torch.float32: 50e12}
"""Assumed floating-point operations a second of a device, by dtype of products."""
BANDWIDTH = 4.3e12
"""Assumed bytes a second."""
LAUNCH_SECONDS = 5e-6
"""Assumed time of a launch."""
START_SECONDS = 10.0


def device_plan() -> BlockPlan:
    return BlockPlan(device_heights(FULL), invariant=True, call_rows=DEVICE_CALL_ROWS)


def try_all(run: object, candidates: Sequence[int], calls: list[int] | None = None) -> BlockPlan:
    """Return the plan after a trial of a function of one column."""
    inputs = [torch.linspace(0.0, 1.0, candidates[-1] + PROBE_ROWS).unsqueeze(1)]

    def counted(columns: Sequence[Tensor]) -> Sequence[Tensor]:
        if calls is not None:
            calls.append(len(columns[0]))
        return run(columns)  # type: ignore[operator, no-any-return]

    trial = try_heights(counted, inputs, candidates, DEVICE_CALL_ROWS)
    while True:
        try:
            next(trial)
        except StopIteration as stop:
            plan: BlockPlan = stop.value
            return plan


def call(networks: Networks, height: int) -> None:
    """Call the networks as a trial does: of flows with a stored state, and of new ones."""
    features = torch.zeros((height, networks.neuron.features), device="cuda:0")
    rows = torch.zeros((height, networks.carrier.layers[0].hidden_size), device="cuda:0")
    rows = rows.to(networks.dtype)
    source = torch.arange(height, device="cuda:0")
    hidden = Hidden((rows,) * len(networks.carrier.layers), source)
    plan = BlockPlan((height,), invariant=True)
    networks.propose(features, hidden, plan)
    networks.propose(features, Hidden((), source[:0]), plan)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 400, 1000, 2049, 16384, 16385, 40000, 10**6])
def test_blocks_cover_all_rows_once(rows: int) -> None:
    end = 0
    for start, height in device_plan().cover(rows):
        assert start == end
        end += height
    assert end - FULL < rows <= end


def test_at_most_an_eighth_of_a_step_of_a_device_is_padding() -> None:
    plan = device_plan()
    for rows in [*range(257, 3000), *range(3000, 70000, 97)]:
        assert plan.computed(rows) <= rows * 1.125 + 1, rows


@pytest.mark.parametrize("batch", [1, 8, 128])
def test_a_run_of_the_smallest_preset_wastes_little(batch: int) -> None:
    processor = FlowProcessor(find_preset(Preset.DEBUG))
    rows = np.random.default_rng(0).standard_normal((min(batch, 8), 768)).astype(np.float32)
    state, flows, computed = processor.start(rows, seed=1), 0, 0
    plan = device_plan()
    while state.active_flows:
        active = state.active_flows * batch // len(rows)
        flows, computed = flows + active, computed + plan.computed(active)
        state = processor.step(state)
    assert computed <= WASTE * flows


@pytest.mark.parametrize("name", Preset)
def test_the_trial_of_heights_takes_seconds_on_a_device(name: Preset) -> None:
    """By assumed rates: every call of the trial costs what one call costs a row, and launches."""
    config = find_preset(name)
    weights = {name: torch.zeros(shape) for name, shape in FlowProcessor.shapes(config).items()}
    processor = FlowProcessor(config, weights=weights)
    calls: list[int] = []
    try_all(lambda columns: columns, device_heights(FULL), calls)
    height = 256
    with pretended_device() as watch, torch.no_grad():
        move_to_pretended_device(processor)
        is_float32 = config.precision is Precision.FLOAT32
        networks = Networks(
            processor.input_mapper,
            processor.neuron,
            processor.carrier,
            processor.output_mapper,
            torch.float32 if is_float32 else torch.bfloat16,
        )
        watch.begin("call")
        call(networks, height)
    seconds = (
        LAUNCH_SECONDS
        * len(calls)
        * sum(count for (_, phase), count in watch.launches.items() if phase == "call")
    )
    rows = sum(calls) / height
    seconds += rows * watch.bytes["call"] / BANDWIDTH
    for (dtype, phase), operations in watch.products.items():
        seconds += rows * operations / RATES[dtype] if phase == "call" else 0.0
    assert seconds <= START_SECONDS


def test_heights_that_do_not_agree_are_left_out_and_the_cost_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run(columns: Sequence[Tensor]) -> Sequence[Tensor]:
        return [columns[0] * (3.0 if len(columns[0]) < 500 else 1.0)]

    candidates = device_heights(1024)
    with caplog.at_level(logging.WARNING, logger="energy_flow.blocks"):
        plan = try_all(run, candidates)
    assert plan.invariant
    assert plan.heights == tuple(height for height in candidates if height >= 500)
    (record,) = caplog.records
    assert "15 of 24 block heights are not used" in record.getMessage()
    assert "32 rows are computed as 512" in record.getMessage()
    caplog.clear()
    assert try_all(lambda columns: columns, candidates).heights == candidates
    assert not caplog.records
