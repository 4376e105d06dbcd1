"""When a sample is ended early, in runs that can be worked out by hand.

Every flow drifts along x by 0.5, so it meets no plane, has one child a step and is projected at
age 2. Of 16 initial flows and their children, 16 arrive in every step from the second on, while
the capacity of 32 leaves room for 16 new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from energy_flow import SimulationResult
from tests.support.small_model import (
    CELLS,
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    make_drifting,
    make_varied,
)

STREAM: Mapping[str, Any] = {
    "max_steps": 12,
    "projection_age": 2,
    "max_active_flows": 2 * CELLS,
    "spawn.mode": "threshold",
    "spawn.threshold": 0.25,
    "convergence.enabled": True,
    "convergence.threshold": 1.0,
    "convergence.min_steps": 1,
    "convergence.patience": 12,
}


def run(**convergence: Any) -> SimulationResult:
    """One sample with these convergence settings."""
    options = {**STREAM, **{f"convergence.{name}": value for name, value in convergence.items()}}
    return make_drifting(0.5, 0.0, 0.0).simulate(embeddings(1), options=options, outputs=OUTPUTS)


def test_convergence_early_stop_trigger() -> None:
    """Half of the flows having arrived ends the run, and ends every flow that is left."""
    result = run(threshold=0.5, min_steps=2)
    counters = result.metrics.counters
    assert counters.steps == 2
    assert counters.created == 2 * CELLS
    assert counters.terminated == {
        "plane": 0,
        "projected": CELLS,
        "converged": CELLS,
        "max_steps": 0,
        "stalled": 0,
    }
    assert counters.completed == result.outputs["hits"].sum() == 2 * CELLS
    assert result.steps[-1].spawned == 0, "who has converged has no children"
    assert result.steps[-1].active == 0
    ends = result.trace.select(kind="terminate", step_from=1).columns
    assert ends["flow"].tolist() == list(range(2 * CELLS))
    assert ends["code"].tolist() == [1] * CELLS + [2] * CELLS
    assert ends["plane"].tolist() == [0] * 2 * CELLS, "moved to the nearest plane"
    assert ends["z"].tolist() == [-1.0] * 2 * CELLS


def test_the_rate_must_reach_the_threshold() -> None:
    # After steps 1, 2, 3, … the rates are 16/32, 32/48, 48/64, …
    assert run(threshold=0.51, min_steps=2).metrics.counters.steps == 3
    assert run(threshold=0.75).metrics.counters.steps == 4
    assert run(threshold=0.76).metrics.counters.steps == 5


def test_nothing_is_checked_before_the_first_steps() -> None:
    assert run(threshold=0.5, min_steps=1).metrics.counters.steps == 2
    assert run(threshold=0.5, min_steps=3).metrics.counters.steps == 3
    assert run(threshold=0.5, min_steps=7).metrics.counters.steps == 7


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        # Completed after each step: 0, 16, 32, 48, 64, 80, …; growth of the mean from step 2 on:
        # 1, 1/2, 1/3, 1/4, 1/5, … (from 0 to 16 there is no growth to speak of).
        ({"window": 1, "patience": 1, "min_improvement": 0.3}, 6),
        ({"window": 1, "patience": 2, "min_improvement": 0.3}, 7),
        ({"window": 1, "patience": 1, "min_improvement": 0.4}, 5),
        ({"window": 1, "patience": 1, "min_improvement": 2.0}, 3),
        # Means of two: 8, 24, 40, 56, 72 after steps 1 to 5; growth 2, 2/3, 2/5, 2/7.
        ({"window": 2, "patience": 1, "min_improvement": 0.3}, 6),
        ({"window": 2, "patience": 1, "min_improvement": 0.5}, 5),
        # Means of three: 16, 32, 48, 64, 80 after steps 2 to 6; growth 1, 1/2, 1/3, 1/4.
        ({"window": 3, "patience": 1, "min_improvement": 0.3}, 7),
        ({"window": 3, "patience": 3, "min_improvement": 0.3}, 9),
        # Checks begin in the third step: 32, 48, 64, 80; growth 1/2, 1/3, 1/4.
        ({"window": 1, "patience": 1, "min_improvement": 0.3, "min_steps": 3}, 6),
        ({"window": 1, "patience": 1, "min_improvement": 0.51, "min_steps": 3}, 4),
        # Growth equal to what is asked for is not stale.
        ({"window": 1, "patience": 1, "min_improvement": 0.5}, 5),
        ({"window": 1, "patience": 1, "min_improvement": 0.25}, 7),
        # It can never act.
        ({"window": 12, "patience": 1, "min_improvement": 0.3}, 12),
        ({"window": 1, "patience": 12, "min_improvement": 9.0}, 12),
        ({"window": 1, "patience": 1, "min_improvement": 0.0}, 12),
    ],
)
def test_stale_arrivals_end_a_run(settings: dict[str, Any], steps: int) -> None:
    result = run(**settings)
    assert result.metrics.counters.steps == steps
    ended_early = bool(result.metrics.counters.terminated["converged"])
    assert ended_early == (steps < 12)


def test_switched_off_nothing_converges() -> None:
    assert run(threshold=0.1, enabled=False).metrics.counters.steps == 12


def test_samples_converge_on_their_own() -> None:
    options = {
        **LIVELY,
        "convergence.enabled": True,
        "convergence.threshold": 0.6,
        "convergence.min_steps": 1,
    }
    x = embeddings(12)
    together = make_varied().simulate(x, options=options, outputs=OUTPUTS)
    steps = {sample.counters.steps for sample in together.samples}
    assert len(steps) > 1, "or this test would show nothing"
    for row in range(12):
        alone = make_varied().simulate(
            x[row : row + 1], options=options, outputs=OUTPUTS, sample_keys=[row]
        )
        assert find_differences(bits(together, row), bits(alone, 0)) == []


def test_stalled_flows_are_not_counted_as_arrived() -> None:
    result = make_drifting(0.5, 0.0, 0.0).simulate(
        embeddings(1),
        options={
            **STREAM,
            "spawn.mode": "off",
            "min_displacement": 0.75,
            "convergence.threshold": 0.01,
        },
    )
    counters = result.metrics.counters
    assert counters.stalled == CELLS
    assert counters.terminated["converged"] == 0
    assert np.isclose(counters.completion_ratio, 0.0)
