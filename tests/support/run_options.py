"""Random run options that are valid, for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from energy_flow.choices import AggregationMode, SpawnMode, names_of
from energy_flow.trace.records import KINDS
from tests.support.small_model import CELLS


@st.composite
def any_options(draw: st.DrawFn, capacities: tuple[int, ...] = (0, 3, 40, 4096)) -> dict[str, Any]:
    """Draw any valid combination of options for the small model."""
    mode = draw(st.sampled_from(names_of(SpawnMode)))
    aggregation = draw(st.sampled_from(names_of(AggregationMode)))
    backgrounds = (None, 0.0, 0.3) if aggregation == "splat" else (None,)
    clamps = mode == "off" and draw(st.booleans())
    max_steps = draw(st.integers(1, 12))
    return {
        "displacement_scale": draw(st.sampled_from((0.1, 0.3, 1.0))),
        "max_displacement": draw(st.sampled_from((0.3, 0.5, 1.7))),
        "noise_std": draw(st.sampled_from((0.0, 0.1, 0.4))),
        "noise_on_z": draw(st.booleans()),
        "boundary": "clamp" if clamps else "reflect",
        "min_displacement": draw(st.sampled_from((0.0, 0.1))),
        "max_steps": max_steps,
        "projection_age": draw(st.none() | st.integers(1, max_steps)),
        "spawn.mode": mode,
        # Twice the largest is below √3 · 0.3, so threshold spawning can always fire.
        "spawn.threshold": draw(st.sampled_from((0.05, 0.1, 0.2))),
        "spawn.percentile": draw(st.sampled_from((1.0, 50.0, 95.0))),
        "spawn.max_children": draw(st.integers(1, 4)),
        "max_active_flows": draw(st.none() | st.integers(CELLS, 2 * CELLS)),
        "convergence.enabled": draw(st.booleans()),
        "convergence.threshold": draw(st.sampled_from((0.3, 0.8, 1.0))),
        "convergence.min_steps": draw(st.integers(1, 4)),
        "convergence.window": draw(st.integers(1, 4)),
        "convergence.patience": draw(st.integers(1, 3)),
        "convergence.min_improvement": draw(st.sampled_from((0.0, 0.01, 0.3))),
        "aggregation_mode": aggregation,
        "background": draw(st.sampled_from(backgrounds)),
        "field_strength": draw(st.sampled_from((0.0, -1.5, 0.7))),
        "trace.capacity": draw(st.sampled_from(capacities)),
        "trace.keep": draw(st.sampled_from(("latest", "earliest", "lossless"))),
        "trace.kinds": draw(st.lists(st.sampled_from(KINDS), unique=True)),
    }
