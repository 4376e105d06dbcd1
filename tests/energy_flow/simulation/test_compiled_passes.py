"""Compiled passes over flows, compared with tensor operations."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import FlowProcessor
from energy_flow.runtime.numba_kernel import array
from energy_flow.runtime.numba_support import supports_numba
from energy_flow.simulation.backends import select_emission
from energy_flow.simulation.backends.numba.noise_passes import explore
from energy_flow.simulation.backends.tensor.emission import emit_flows
from energy_flow.simulation.noise import normals
from tests.support.run_options import any_options
from tests.support.small_model import bits, embeddings, find_differences, finish, make_varied

SAMPLES = 3


def run(
    processor: FlowProcessor, options: dict[str, Any], compiled: bool
) -> list[dict[str, bytes]]:
    """Return all results of a run by sample, from compiled passes or from tensor operations."""
    state = processor.start(embeddings(SAMPLES), options=options, seed=11)
    with processor.mode():
        is_compiled = select_emission(state) is not emit_flows
        assert is_compiled == (compiled and supports_numba(processor.device))
    while state.active_flows:
        state = processor.step(state)
    with torch.no_grad():
        result = finish(processor, state, state.cohorts[0])
    return [bits(result, row) for row in range(SAMPLES)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(options=any_options(), convergence_threshold=st.sampled_from((0.3, 1.0)))
def test_decisions_determine_the_next_state(
    options: dict[str, Any], convergence_threshold: float
) -> None:
    options = {**options, "convergence.threshold": convergence_threshold}
    differentiable = copy.deepcopy(make_varied()).train()
    for mine, its in zip(
        run(make_varied(), options, True), run(differentiable, options, False), strict=True
    ):
        assert find_differences(mine, its) == []


def test_exploration_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    flows, samples, top = 5000, 7, 2**32
    flow = torch.randint(0, top, (flows,), generator=generator)
    flow[:3] = torch.tensor([0, 1, top - 1])
    sample = torch.randint(0, samples, (flows,), generator=generator).sort().values
    step, key, low, high = torch.randint(0, top, (4, samples), generator=generator)
    low[0], high[0], key[0] = top - 1, top - 1, top - 1
    scale = torch.rand(samples, generator=generator)
    scale_z = torch.where(torch.arange(samples) % 2 == 0, scale, 0.0)
    out = torch.empty((flows, 3))
    explore(*map(array, (flow, sample, step, key, low, high, scale, scale_z, out)))

    seed = torch.stack((low, high))[:, sample]
    unscaled = normals(flow, step[sample], key[sample], seed, torch.float32)
    expected = unscaled * torch.stack((scale, scale, scale_z), dim=1)[sample]
    # Both round once from float64, whose last bit two libraries may disagree about.
    np.testing.assert_array_max_ulp(out.numpy(), expected.numpy(), maxulp=1)
    assert float((out == expected).double().mean()) > 0.999
