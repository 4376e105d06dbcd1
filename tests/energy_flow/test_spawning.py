"""Who has children, how many, and what happens when there is no room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from energy_flow import FlowProcessor, SimulationResult
from tests.energy_flow.small import (
    CELLS,
    LIVELY,
    drifting,
    embeddings,
    small_config,
    varied,
)

ONE_STEP: Mapping[str, Any] = {"max_steps": 2, "projection_age": 2, "spawn.mode": "threshold"}


def run(length: float, options: Mapping[str, Any]) -> SimulationResult:
    """One sample whose flows all drift along x."""
    return drifting(length, 0.0, 0.0).simulate(embeddings(1), options={**ONE_STEP, **options})


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


def test_room_is_counted_after_the_flows_that_end() -> None:
    options = {"spawn.threshold": 0.25, "max_steps": 4, "projection_age": 2}
    result = run(0.5, {**options, "max_active_flows": 2 * CELLS})
    assert [step.spawned for step in result.steps] == [CELLS, CELLS, CELLS, 0]
    assert result.metrics.counters.to_dict()["spawns_suppressed"] == 0


def test_ids_are_contiguous_whatever_is_suppressed() -> None:
    options = {**LIVELY, "max_active_flows": CELLS + 5}
    result = varied().simulate(embeddings(6), options=options)
    told = result.metrics.counters.to_dict()
    assert told["spawns_suppressed"] > 0
    assert told["spawned"] > 0
    for sample in result.samples:
        born = result.trace.select(kind="spawn", sample=sample.sample).columns
        ids = born["flow"]
        assert ids.tolist() == list(range(CELLS, CELLS + sample.counters.spawned))
        key = np.stack((born["step"], born["parent"], born["code"]), axis=1).tolist()
        assert key == sorted(key)
        assert sample.counters.to_dict()["overflow"] == ["spawn_capacity"]


def test_off_spawns_nothing() -> None:
    result = varied().simulate(embeddings(2), options={**LIVELY, "spawn.mode": "off"})
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
        before, born = born, np.array([cohort.ledger.sample(r, False).spawned for r in range(40)])
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
    """Lengths are what the first step's terminations would tell, were it the last step."""
    options = {
        "noise_std": 0.3,
        "noise_on_z": False,
        "max_steps": 1,
        "spawn.mode": "off",
        "convergence.enabled": False,
    }
    x = embeddings(5)
    trace = drifting(0.1, 0.0, 0.0).simulate(x, options=options).trace
    ends = trace.select(kind="terminate").columns
    options |= {
        "max_steps": 2,
        "spawn.mode": "percentile",
        "spawn.percentile": percentile,
        "spawn.threshold": 1e-3,
        "spawn.max_children": 1,
    }
    trace = drifting(0.1, 0.0, 0.0).simulate(x, options=options).trace
    for sample in range(5):
        lengths = ends["length"][ends["sample"] == sample]
        assert len(lengths) == CELLS
        expected = np.flatnonzero(lengths > np.percentile(lengths, percentile))
        parents = trace.select(kind="spawn", sample=sample, step_to=0).columns["parent"]
        assert parents.tolist() == expected.tolist()
