"""Networks that give numbers which are not finite: the run fails alone, and says where."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.errors import ConfigError, EnergyFlowError, NonFiniteError
from tests.energy_flow.small import (
    LIVELY,
    QUIET,
    bits,
    differing,
    drifting,
    embeddings,
    finished,
    run_to_end,
    untrained,
    varied,
)

OVERFLOWS = 3e38
"""A number that float32 holds, as it does not hold the sum of several of them."""


def broken(name: str, value: float = np.nan, place: int = 0) -> FlowProcessor:
    """A small model with one bad number."""
    processor = copy.deepcopy(untrained())
    with torch.no_grad():
        processor.get_parameter(name).view(-1)[place] = value
    return processor


def failure(processor: FlowProcessor, x: Any, **options: Any) -> NonFiniteError:
    with pytest.raises(NonFiniteError) as error:
        processor.simulate(x, options=options)
    assert isinstance(error.value, EnergyFlowError)
    told = error.value
    for part, number in (("sample", told.sample), ("flow", told.flow), ("step", told.step)):
        assert f"{part} {number}" in str(told)
    return told


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
    told = failure(broken(name, value), embeddings(3), precision=precision)
    assert (told.sample, told.flow, told.step) == (0, 0, 0)


def test_an_embedding_that_overflows_the_mapper() -> None:
    x = embeddings(4)
    x[2] = OVERFLOWS
    told = failure(varied(), x)
    assert (told.sample, told.flow, told.step) == (2, 0, 0)


def test_the_first_cell_that_fails_is_named() -> None:
    processor = broken("input_mapper.positional_encoding", np.nan, place=6)
    told = failure(processor, embeddings(2))
    assert (told.sample, told.flow, told.step) == (0, 6, 0)


def test_a_failure_in_a_later_step() -> None:
    """The neuron sees 3e38 · z: nothing where flows start, and too much once they have moved."""
    processor = copy.deepcopy(drifting(0.0, 0.0, 0.25))
    with torch.no_grad():
        first = processor.get_parameter("neuron.layers.0.weight")
        first.zero_()
        first[:, 2] = OVERFLOWS
        processor.get_parameter("neuron.layers.0.bias").zero_()
    told = failure(processor, embeddings(2), max_steps=4, projection_age=4)
    assert (told.sample, told.flow, told.step) == (0, 0, 1)


def test_a_failing_run_leaves_others_in_the_pool_unharmed() -> None:
    config = varied().config.with_options({**LIVELY, "spawn.mode": "percentile"})
    good = embeddings(3)
    bad = good.copy()
    bad[1] = OVERFLOWS
    state = varied().enter(varied().empty(config), good[:2], config, 0, [0, 1])
    state = varied().enter(state, bad, config, 0, [0, 1, 2], first_sample=10)
    state = varied().enter(state, good[2:], config, 0, [2])
    first, failed, last = state.cohorts
    state = varied().step(state)
    assert failed.failure is not None
    assert (failed.failure.sample, failed.failure.flow, failed.failure.step) == (11, 0, 0)
    assert first.failure is None
    assert last.failure is None
    state = run_to_end(varied(), varied().step(state).left([failed]))
    whole_state = varied().enter(varied().empty(config), good, config, 0, [0, 1, 2])
    (cohort,) = whole_state.cohorts
    whole = finished(varied(), run_to_end(varied(), whole_state), cohort)
    assert differing(bits(finished(varied(), state, first), 1), bits(whole, 1)) == []
    assert differing(bits(finished(varied(), state, last), 0), bits(whole, 2)) == []


@pytest.mark.parametrize("after", [1, 4])
def test_what_a_failed_run_had_can_be_read(after: int) -> None:
    x = embeddings(2)
    x[0] = OVERFLOWS
    state = varied().start(x, options=LIVELY)
    (cohort,) = state.cohorts
    for _ in range(after):
        state = varied().step(state)
    result = finished(varied(), state, cohort)
    assert np.isfinite(result.outputs["surface"]).all()
    assert result.samples[0].counters.completed == 0
    assert result.samples[1].counters.created > 0


def test_a_displacement_that_is_not_finite_is_never_let_through() -> None:
    """Nothing times a scale beyond float32 is not a number."""
    processor = copy.deepcopy(untrained())
    with torch.no_grad():
        for parameter in processor.carrier.displacement_head.parameters():
            parameter.zero_()
    options = {**QUIET, "displacement_scale": 1e39}
    with pytest.raises((ConfigError, NonFiniteError)):
        processor.simulate(embeddings(1), options=options)
