"""Which flows have children, how many, and what happens without capacity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.choices import SpawnMode
from energy_flow.simulation.rules import spawning
from energy_flow.telemetry.counters import Counters
from tests.support.small_model import (
    CELLS,
    LIVELY,
    embeddings,
    make_drifting,
    make_varied,
    small_config,
)

ONE_STEP: Mapping[str, Any] = {"max_steps": 2, "projection_age": 2, "spawn.mode": "threshold"}


def run(length: float, options: Mapping[str, Any]) -> SimulationResult:
    """One sample whose flows all drift along x."""
    return make_drifting(length, 0.0, 0.0).simulate(embeddings(1), options={**ONE_STEP, **options})


@pytest.mark.parametrize(
    ("length", "threshold", "most", "children"),
    [
        (0.5, 0.51, 9, 0),
        (0.5, 0.5, 9, 0),
        (0.5, 0.26, 9, 0),
        (0.5, 0.25, 9, 1),
        (0.5, 0.2, 9, 1),
        (0.75, 0.25, 9, 2),
        (0.75, 0.25, 1, 1),
        # The products decide, in float32: twice 0.35 fits into 0.7, three times 0.1 into 0.3.
        (0.7, 0.35, 9, 1),
        (0.3, 0.1, 9, 2),
        (0.6, 0.1, 2, 2),
        # So small that the quotient is beyond any integer.
        (0.5, 1e-30, 3, 3),
        (0.5, 1e-60, 3, 3),
    ],
)
def test_children_by_threshold(length: float, threshold: float, most: int, children: int) -> None:
    result = run(
        length,
        {
            "spawn.threshold": threshold,
            "spawn.max_children": most,
            "max_active_flows": 200,
        },
    )
    assert result.steps[0].spawned == children * CELLS
    spawned = result.trace.select(kind="spawn", step_to=0).columns
    assert spawned["parent"].tolist() == [p for p in range(CELLS) for _ in range(children)]
    assert spawned["code"].tolist() == list(range(children)) * CELLS
    assert spawned["flow"].tolist() == list(range(CELLS, CELLS * (1 + children)))


def test_a_child_starts_where_its_parent_was() -> None:
    spawned = run(0.5, {"spawn.threshold": 0.25}).trace.select(kind="spawn", step_to=0).columns
    axis = np.linspace(-1, 1, 4, dtype=np.float32)
    np.testing.assert_allclose(spawned["x"], np.tile(axis, 4), atol=1e-6)
    np.testing.assert_allclose(spawned["y"], np.repeat(axis, 4), atol=1e-6)
    assert not spawned["z"].any()
    assert (spawned["plane"] == -1).all()
    np.testing.assert_allclose(spawned["energy"], 0.5, atol=1e-6)
    np.testing.assert_allclose(spawned["length"], 0.5, atol=1e-6)


def test_children_of_children() -> None:
    """Two generations: the children of a step take the ids that follow, parent by parent."""
    result = run(0.5, {"spawn.threshold": 0.25, "max_steps": 3, "projection_age": 3})
    later = result.trace.select(kind="spawn", step_from=1).columns
    assert later["step"].tolist() == [1] * 2 * CELLS
    assert later["parent"].tolist() == list(range(2 * CELLS))
    assert later["flow"].tolist() == list(range(2 * CELLS, 4 * CELLS))
    ends = result.trace.select(kind="terminate").columns
    parents = dict(zip(ends["flow"].tolist(), ends["parent"].tolist(), strict=True))
    assert all(parents[flow] == -1 for flow in range(CELLS))
    assert all(parents[flow] == flow - CELLS for flow in range(CELLS, 2 * CELLS))
    assert all(parents[flow] == flow - 2 * CELLS for flow in range(2 * CELLS, 4 * CELLS))


def test_capacity_is_granted_in_order_and_the_rest_is_counted() -> None:
    options = {
        "spawn.threshold": 0.1,
        "spawn.max_children": 3,
        "max_active_flows": CELLS + 4,
        "max_steps": 3,
        "projection_age": 3,
    }
    result = run(0.5, options)
    spawned = result.trace.select(kind="spawn").columns
    assert spawned["parent"].tolist() == [0, 0, 0, 1]
    assert spawned["code"].tolist() == [0, 1, 2, 0]
    assert spawned["flow"].tolist() == [16, 17, 18, 19], "what is suppressed takes no id"
    counters = result.metrics.counters.to_dict()
    # 48 wanted in the first step, 4 granted; 60 in the second, none; the last is everybody's end.
    assert counters["spawns_suppressed"] == 44 + 60
    assert counters["spawned"] == 4
    assert counters["overflow"] == ["spawn_capacity"]
    assert counters["terminated"] == {
        "plane": 0,
        "projected": CELLS,
        "converged": 0,
        "max_steps": 4,
        "stalled": 0,
    }


@pytest.mark.parametrize("length", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("tau", [1e-30, 1e-60])
@pytest.mark.parametrize("mode", [SpawnMode.THRESHOLD, SpawnMode.PERCENTILE])
def test_a_tiny_threshold_gives_the_maximum(length: float, tau: float, mode: SpawnMode) -> None:
    length_N, tau_N = torch.tensor([length]), torch.tensor([tau])
    wanted_N = spawning.count_wanted_children(
        length_N, torch.tensor([True]), torch.tensor([mode.code]), tau_N, torch.tensor([3])
    )
    reaches = length > 0.0 or (float(tau_N) == 0.0 and mode is SpawnMode.THRESHOLD)
    assert wanted_N.tolist() == [3 if reaches else 0]


@pytest.mark.parametrize(
    ("wanted", "room", "granted"),
    [
        ([1, 1, 1], 3, [1, 1, 1]),  # an exact fit
        ([3, 3, 3], 4, [3, 1, 0]),
        ([0, 2, 0, 2], 3, [0, 2, 0, 1]),
        ([2, 2], 0, [0, 0]),
    ],
)
def test_children_are_granted_in_order(wanted: list[int], room: int, granted: list[int]) -> None:
    wanted_N = torch.tensor(wanted)
    before_N = wanted_N.cumsum(0) - wanted_N
    room_N = torch.full_like(wanted_N, room)
    assert spawning.grant(wanted_N, before_N, room_N).tolist() == granted


def test_flows_that_end_in_a_step_make_room_for_its_children() -> None:
    # Each flow spawns one child in each step but its last, so the limit of 2 * CELLS is an exact
    # fit in step 0, and in the later steps only if the parents that end are not counted.
    options = {"spawn.threshold": 0.25, "max_steps": 4, "projection_age": 2}
    result = run(0.5, {**options, "max_active_flows": 2 * CELLS})
    assert result.metrics.counters.to_dict()["spawns_suppressed"] == 0
    assert [step.spawned for step in result.steps] == [CELLS, CELLS, CELLS, 0]


def test_ids_are_contiguous_whatever_is_suppressed() -> None:
    options = {**LIVELY, "max_active_flows": CELLS + 5}
    result = make_varied().simulate(embeddings(6), options=options)
    counted = result.metrics.counters.to_dict()
    assert counted["spawns_suppressed"] > 0
    assert counted["spawned"] > 0
    for sample in result.samples:
        born = result.trace.select(kind="spawn", sample=sample.sample).columns
        ids = born["flow"]
        assert ids.tolist() == list(range(CELLS, CELLS + sample.counters.spawned))
        key = np.stack((born["step"], born["parent"], born["code"]), axis=1).tolist()
        assert key == sorted(key)
        assert sample.counters.to_dict()["overflow"] == ["spawn_capacity"]


def test_off_spawns_nothing() -> None:
    result = make_varied().simulate(embeddings(2), options={**LIVELY, "spawn.mode": "off"})
    assert result.metrics.counters.spawned == 0
    assert result.trace.totals["spawn"] == 0


def test_percentiles_never_spawn_for_a_lone_flow() -> None:
    """With the least percentile and threshold every flow but the shortest spawns."""
    processor = FlowProcessor(small_config(lattice_width=2, lattice_height=2))
    options = {
        "max_steps": 12,
        "projection_age": 12,
        "noise_std": 2.0,
        "spawn.mode": "percentile",
        "spawn.percentile": 0.001,
        "spawn.threshold": 1e-4,
        "max_active_flows": 6,
        "convergence.enabled": False,
    }
    state = processor.start(embeddings(40), options=options)
    (cohort,) = state.cohorts
    born = np.zeros(40, dtype=int)
    lone = several = 0
    while state.active_flows:
        state = processor.step(state)
        before, born = (
            born,
            np.array([Counters.of(cohort.ledger.sample(r, False)).spawned for r in range(40)]),
        )
        stayed = cohort.ledger.active - (born - before)
        assert (born[stayed <= 1] == before[stayed <= 1]).all()
        lone += int((stayed == 1).sum())
        several += int(((stayed > 1) & (born > before)).sum())
    assert lone >= 10, "or this test would show nothing"
    assert several >= 10


def test_the_percentile_must_be_exceeded() -> None:
    """Where all lengths are equal none exceeds the percentile."""
    result = run(0.5, {"spawn.mode": "percentile", "spawn.threshold": 0.01})
    assert result.metrics.counters.spawned == 0


@pytest.mark.parametrize("percentile", [5.0, 50.0, 90.0])
def test_percentiles_are_those_of_the_moving_flows(percentile: float) -> None:
    """Lengths are those of the terminations, if the first step is the last one."""
    options = {
        "noise_std": 0.3,
        "noise_on_z": False,
        "max_steps": 1,
        "spawn.mode": "off",
        "convergence.enabled": False,
    }
    x = embeddings(5)
    trace = make_drifting(0.1, 0.0, 0.0).simulate(x, options=options).trace
    ends = trace.select(kind="terminate").columns
    options |= {
        "max_steps": 2,
        "spawn.mode": "percentile",
        "spawn.percentile": percentile,
        "spawn.threshold": 1e-3,
        "spawn.max_children": 1,
    }
    trace = make_drifting(0.1, 0.0, 0.0).simulate(x, options=options).trace
    for sample in range(5):
        lengths = ends["length"][ends["sample"] == sample]
        assert len(lengths) == CELLS
        expected = np.flatnonzero(lengths > np.percentile(lengths, percentile))
        parents = trace.select(kind="spawn", sample=sample, step_to=0).columns["parent"]
        assert parents.tolist() == expected.tolist()
