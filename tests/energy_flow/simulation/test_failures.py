"""Networks with results that are not finite: only their run fails, and the flow is named."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.errors import ConfigError, EnergyFlowError, NonFiniteError
from tests.support.small_model import (
    CELLS,
    LIVELY,
    QUIET,
    bits,
    embeddings,
    find_differences,
    finish,
    make_drifting,
    make_untrained,
    make_varied,
    small_config,
    step_to_end,
)

OVERFLOWS = 3e38
"""A number that float32 holds, as it does not hold the sum of several of them."""


def broken(name: str, value: float = np.nan, place: int = 0) -> FlowProcessor:
    """Return a small model with one wrong weight."""
    processor = copy.deepcopy(make_untrained())
    with torch.no_grad():
        processor.get_parameter(name).view(-1)[place] = value
    return processor


def failure(processor: FlowProcessor, x: Any, **options: Any) -> NonFiniteError:
    with pytest.raises(NonFiniteError) as error:
        processor.simulate(x, options=options)
    assert isinstance(error.value, EnergyFlowError)
    named = {"sample": error.value.sample, "flow": error.value.flow, "step": error.value.step}
    for part, number in named.items():
        assert f"{part} {number}" in str(error.value)
    return error.value


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("carrier.displacement_head.2.bias", np.nan),
        ("carrier.displacement_head.2.bias", np.inf),
        ("carrier.displacement_head.0.weight", -np.inf),
        ("carrier.energy_head.0.bias", np.nan),
        ("carrier.gru.bias_ih_l0", np.nan),
        ("neuron.layers.0.weight", np.nan),
        ("neuron.layers.4.bias", np.inf),
    ],
)
def test_weights_that_are_not_finite(name: str, value: float, precision: str) -> None:
    error = failure(broken(name, value), embeddings(3), precision=precision)
    assert (error.sample, error.flow, error.step) == (0, 0, 0)


def test_an_embedding_that_overflows_the_mapper() -> None:
    x = embeddings(4)
    x[2] = OVERFLOWS
    error = failure(make_varied(), x)
    assert (error.sample, error.flow, error.step) == (2, 0, 0)


def test_the_first_cell_that_fails_is_named() -> None:
    processor = broken("input_mapper.positional_encoding", np.nan, place=6)
    error = failure(processor, embeddings(2))
    assert (error.sample, error.flow, error.step) == (0, 6, 0)


def test_a_failure_in_a_later_step() -> None:
    """The neuron sees 3e38 · z: nothing where flows start, and too much once they have moved."""
    processor = copy.deepcopy(make_drifting(0.0, 0.0, 0.25))
    with torch.no_grad():
        first = processor.get_parameter("neuron.layers.0.weight")
        first.zero_()
        first[:, 2] = OVERFLOWS
        processor.get_parameter("neuron.layers.0.bias").zero_()
    error = failure(processor, embeddings(2), max_steps=4, projection_age=4)
    assert (error.sample, error.flow, error.step) == (0, 0, 1)


def test_a_failing_run_does_not_affect_others_in_the_pool() -> None:
    config = make_varied().config.with_options({**LIVELY, "spawn.mode": "percentile"})
    good = embeddings(3)
    bad = good.copy()
    bad[1] = OVERFLOWS
    state = make_varied().add_cohort(make_varied().empty(config), good[:2], config, 0, [0, 1])
    state = make_varied().add_cohort(state, bad, config, 0, [0, 1, 2], first_sample=10)
    state = make_varied().add_cohort(state, good[2:], config, 0, [2])
    first, failed, last = state.cohorts
    state = make_varied().step(state)
    assert failed.failure is not None
    assert (failed.failure.sample, failed.failure.flow, failed.failure.step) == (11, 0, 0)
    assert first.failure is None
    assert last.failure is None
    state = step_to_end(make_varied(), make_varied().step(state).without_cohorts([failed]))
    whole_state = make_varied().add_cohort(make_varied().empty(config), good, config, 0, [0, 1, 2])
    (cohort,) = whole_state.cohorts
    whole = finish(make_varied(), step_to_end(make_varied(), whole_state), cohort)
    assert find_differences(bits(finish(make_varied(), state, first), 1), bits(whole, 1)) == []
    assert find_differences(bits(finish(make_varied(), state, last), 0), bits(whole, 2)) == []


@pytest.mark.parametrize("after", [1, 4])
def test_results_of_a_failed_run_can_be_read(after: int) -> None:
    x = embeddings(2)
    x[0] = OVERFLOWS
    state = make_varied().start(x, options=LIVELY)
    (cohort,) = state.cohorts
    for _ in range(after):
        state = make_varied().step(state)
    result = finish(make_varied(), state, cohort)
    assert np.isfinite(result.outputs["surface"]).all()
    assert result.samples[0].counters.completed == 0
    assert result.samples[1].counters.created > 0


def test_displacements_that_are_not_finite_are_always_detected() -> None:
    """Nothing times a scale beyond float32 is not a number."""
    processor = copy.deepcopy(make_untrained())
    with torch.no_grad():
        for parameter in processor.carrier.displacement_head.parameters():
            parameter.zero_()
    options = {**QUIET, "displacement_scale": 1e39}
    with pytest.raises((ConfigError, NonFiniteError)):
        processor.simulate(embeddings(1), options=options)


@pytest.mark.parametrize("update", ["replace", "residual"])
def test_energies_have_a_limit(update: str) -> None:
    """Beyond it, sums of float32 would overflow; only an embedding of that size can reach it."""
    processor = FlowProcessor(
        small_config(mapper="identity", embedding_dim=CELLS, energy_update=update)
    )
    rows = np.zeros((2, CELLS), np.float32)
    rows[1, 5] = -1e15
    assert processor.simulate(rows).metrics.counters.completed > 0
    rows[1, 5] = -1.1e15
    with pytest.raises(NonFiniteError, match="sample 1, flow 5, step 0") as failure:
        processor.simulate(rows)
    assert "too large" in str(failure.value)


def test_the_largest_factors_give_finite_displacements() -> None:
    """A product beyond float32 would give NaN displacements, also for flows without a field."""
    processor = FlowProcessor(
        small_config(mapper="identity", embedding_dim=CELLS, energy_update="residual")
    )
    rows = np.random.default_rng(0).uniform(-1e15, 1e15, (2, CELLS)).astype(np.float32)
    rows[0, :4] = 0.0
    options = {"displacement_scale": 1e6, "field_strength": -1e6, "aggregation_mode": "splat"}
    result = processor.simulate(rows, options=options, outputs=("surface", "reached"))
    assert result.metrics.counters.completed > 0
    assert np.isfinite(result.outputs["surface"]).all()
    assert np.isfinite(result.trace.columns["z"]).all()
    assert result.outputs["reached"].any(axis=(1, 2, 3)).all()
