"""Movement, walls and ends of flows, in runs that can be calculated by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from energy_flow import SimulationResult
from energy_flow.trace.records import REASONS
from tests.support.small_model import CELLS, OUTPUTS, embeddings, make_drifting, make_varied

ROUNDING = 1e-6
"""Of a few float32 additions of numbers around 1."""


def run(
    x: float, y: float, z: float, options: Mapping[str, Any], energy: float = 0.5
) -> SimulationResult:
    """One sample whose flows all drift by (x, y, z)."""
    return make_drifting(x, y, z, energy).simulate(embeddings(1), options=options, outputs=OUTPUTS)


def reasons(result: SimulationResult) -> dict[str, int]:
    return {reason: n for reason, n in result.metrics.counters.terminated.items() if n}


def test_completion_dual_planes() -> None:
    """Both planes take exits; each is tallied alone, and cells are those of the positions."""
    options = {
        "max_steps": 8,
        "projection_age": 8,
        "noise_std": 0.4,
        "spawn.mode": "off",
        "convergence.enabled": False,
    }
    result = make_varied().simulate(embeddings(8), options=options, outputs=OUTPUTS)
    ends = result.trace.select(kind="terminate").columns
    assert set(ends["plane"].tolist()) == {0, 1}
    np.testing.assert_array_equal(ends["z"], 2.0 * ends["plane"] - 1.0)
    counters = result.metrics.counters
    assert counters.planes == {
        "z0": int((ends["plane"] == 0).sum()),
        "zdepth": int((ends["plane"] == 1).sum()),
    }
    cell = [
        np.clip(np.floor((ends[axis].astype(float) + 1) / 2 * 3 + 0.5 - 2.0**-12), 0, 3).astype(int)
        for axis in ("x", "y")
    ]
    hits = np.zeros((8, 2, 4, 4), dtype=int)
    np.add.at(hits, (ends["sample"], ends["plane"], cell[1], cell[0]), 1)
    np.testing.assert_array_equal(result.outputs["hits"], hits)
    assert hits.sum() == counters.completed == counters.created
    single = hits.sum(axis=1) == 1
    assert single.any()
    planes, surface = result.outputs["planes"], result.outputs["surface"]
    for sample, plane, iy, ix, energy in zip(
        ends["sample"], ends["plane"], cell[1], cell[0], ends["energy"], strict=True
    ):
        if single[sample, iy, ix]:
            assert planes[sample, plane, iy, ix] == pytest.approx(energy, abs=ROUNDING)
            assert planes[sample, 1 - plane, iy, ix] == 0
            assert surface[sample, iy, ix] == pytest.approx(energy, abs=ROUNDING)


@pytest.mark.parametrize(("drift", "plane"), [(0.5, 1), (-0.5, 0)])
def test_a_flow_that_reaches_a_plane_ends_there(drift: float, plane: int) -> None:
    result = run(0.0, 0.0, drift, {"max_steps": 9, "projection_age": 9})
    assert reasons(result) == {"plane": CELLS}
    assert result.metrics.counters.steps == 2, "z = ±1 is on the plane"
    ends = result.trace.columns
    assert ends["step"].tolist() == [1] * CELLS
    assert ends["flow"].tolist() == ends["seq"].tolist() == list(range(CELLS))
    assert ends["plane"].tolist() == [plane] * CELLS
    assert result.outputs["hits"][0, plane].tolist() == [[1] * 4] * 4
    assert result.outputs["hits"][0, 1 - plane].sum() == 0
    np.testing.assert_allclose(result.outputs["surface"], 0.5, atol=ROUNDING)
    metrics = result.metrics.to_dict()
    assert metrics["mean_path_steps"] == 2
    assert metrics["mean_path_length"] == pytest.approx(1.0, abs=ROUNDING)
    assert metrics["z_displacement_variance"] == pytest.approx(0.0, abs=ROUNDING)
    assert metrics["flow_steps"] == 2 * CELLS


@pytest.mark.parametrize(("drift", "plane"), [(0.25, 1), (-0.25, 0), (0.0, 0)])
def test_an_old_flow_is_moved_to_the_nearest_plane(drift: float, plane: int) -> None:
    result = run(0.0, 0.0, drift, {"max_steps": 9, "projection_age": 3})
    assert reasons(result) == {"projected": CELLS}
    ends = result.trace.columns
    assert ends["step"].tolist() == [2] * CELLS
    assert ends["plane"].tolist() == [plane] * CELLS
    assert ends["z"].tolist() == [2.0 * plane - 1.0] * CELLS


def test_the_default_age_is_half_the_depth_and_at_most_all_steps() -> None:
    assert run(0.0, 0.0, 0.0, {}).metrics.counters.steps == 2
    one = run(0.0, 0.0, 0.0, {"max_steps": 1})
    assert one.metrics.counters.steps == 1
    assert reasons(one) == {"projected": CELLS}


def test_a_plane_comes_before_a_stall_before_age_before_the_last_step() -> None:
    both = {"min_displacement": 3.0, "max_steps": 1, "projection_age": 1}
    assert reasons(run(0.0, 0.0, 1.0, both)) == {"plane": CELLS}
    assert reasons(run(0.0, 0.0, 0.5, both)) == {"stalled": CELLS}
    assert reasons(run(0.0, 0.0, 0.5, {**both, "min_displacement": 0.0})) == {"projected": CELLS}


def test_a_short_step_stalls_and_is_not_tallied() -> None:
    result = run(0.0, 0.0, 0.125, {"min_displacement": 0.25, "max_steps": 5})
    assert reasons(result) == {"stalled": CELLS}
    assert result.outputs["hits"].sum() == 0
    assert not result.outputs["surface"].any()
    ends = result.trace.columns
    assert ends["plane"].tolist() == [-1] * CELLS
    assert ends["z"].tolist() == [0.125] * CELLS, "where it stalled"
    counters = result.metrics.counters
    assert counters.stalled == CELLS
    assert counters.completed == 0
    assert counters.completion_ratio == 0


def test_a_step_of_just_the_least_length_does_not_stall() -> None:
    result = run(0.0, 0.0, 0.25, {"min_displacement": 0.25, "max_steps": 9, "projection_age": 9})
    assert reasons(result) == {"plane": CELLS}


def test_children_reach_the_last_step() -> None:
    options = {"spawn.mode": "threshold", "spawn.threshold": 0.25}
    result = run(0.5, 0.0, 0.0, {**options, "max_steps": 2, "projection_age": 2})
    assert reasons(result) == {"projected": CELLS, "max_steps": CELLS}
    ends = result.trace.select(kind="terminate").columns
    assert Counter(ends["code"].tolist()) == {
        REASONS.index("projected"): CELLS,
        REASONS.index("max_steps"): CELLS,
    }
    assert result.metrics.counters.spawned == CELLS, "none spawns in the last step"


def test_walls_reflect() -> None:
    result = run(0.5, -0.5, 0.0, {"max_steps": 1})
    reflected = result.trace.select(kind="reflect").columns
    codes = dict(zip(reflected["flow"].tolist(), reflected["code"].tolist(), strict=True))
    # Cells 3, 7, 11, 15 lie at x = 1 and cells 0 to 3 at y = -1; the others stay clear.
    assert codes == {0: 4, 1: 4, 2: 4, 3: 2 + 4, 7: 2, 11: 2, 15: 2}
    at = {flow: row for row, flow in enumerate(reflected["flow"].tolist())}
    corner = [float(reflected[axis][at[3]]) for axis in ("x", "y", "z")]
    assert corner == [0.5, -0.5, 0.0]
    assert (reflected["plane"] == -1).all()
    assert result.metrics.counters.to_dict()["reflected"] == 7
    assert result.trace.totals["reflect"] == 7
    ends = result.trace.select(kind="terminate").columns
    assert ends["seq"].tolist() == list(range(7, 7 + CELLS)), "reflections come first in a step"


def test_other_walls_and_wide_overshoots() -> None:
    result = run(-1.75, 1.75, 0.0, {"max_steps": 1})
    reflected = result.trace.select(kind="reflect").columns
    codes = dict(zip(reflected["flow"].tolist(), reflected["code"].tolist(), strict=True))
    # Only x = 1 stays clear of the low x wall, only y = -1 of the high y wall.
    assert codes == {
        flow: code
        for flow in range(CELLS)
        if (code := (0 if flow % 4 == 3 else 1) + (0 if flow < 4 else 8))
    }
    first = reflected["flow"].tolist().index(4)
    # From x = -1 to -2.75, mirrored at -1 to 0.75; from y = -1/3 to 17/12, mirrored to 7/12.
    assert float(reflected["x"][first]) == pytest.approx(0.75, abs=ROUNDING)
    assert float(reflected["y"][first]) == pytest.approx(7 / 12, abs=ROUNDING)


def test_walls_that_clamp_make_no_record() -> None:
    result = run(0.5, -0.5, 0.0, {"max_steps": 1, "boundary": "clamp"})
    assert result.trace.totals["reflect"] == 0
    ends = result.trace.columns
    corner = ends["flow"].tolist().index(3)
    assert (float(ends["x"][corner]), float(ends["y"][corner])) == (1.0, -1.0)


def test_an_exit_may_reflect_in_the_same_step() -> None:
    result = run(0.5, 0.0, 1.5, {"max_steps": 4})
    both = result.trace.select(flow=3).columns
    assert both["kind"].tolist() == [1, 2]
    assert both["x"].tolist() == [0.5, 0.5], "the folded place, not where the path crossed"
    assert both["z"].tolist() == [1.0, 1.0]
    assert both["code"].tolist() == [2, REASONS.index("plane")]


def test_proposals_are_scaled_then_clamped() -> None:
    clamped = run(1.0, -1.0, 0.25, {"max_displacement": 0.5, "max_steps": 1})
    lengths = clamped.trace.columns["length"]
    np.testing.assert_allclose(lengths, np.sqrt(0.5**2 + 0.5**2 + 0.25**2), atol=ROUNDING)
    scaled = run(1.0, -1.0, 0.25, {"displacement_scale": 0.25, "max_steps": 1})
    expected = 0.25 * np.sqrt(1 + 1 + 0.25**2)
    np.testing.assert_allclose(scaled.trace.columns["length"], expected, atol=ROUNDING)
