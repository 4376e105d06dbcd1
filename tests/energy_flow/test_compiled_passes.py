"""Compiled passes over flows against the same in tensor operations."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import FlowProcessor
from energy_flow.runtime.numba_kernel import array
from energy_flow.runtime.numba_support import supports_numba
from energy_flow.simulation.backends.choice import emits_compiled
from energy_flow.simulation.backends.numba.noise_passes import explore
from energy_flow.simulation.noise import normals
from tests.energy_flow.any_options import any_options
from tests.energy_flow.small import bits, differing, embeddings, finished, varied

SAMPLES = 3


def told(
    processor: FlowProcessor, options: dict[str, Any], compiled: bool
) -> list[dict[str, bytes]]:
    """Everything a run says of its samples, run by compiled passes or by tensor operations."""
    state = processor.start(embeddings(SAMPLES), options=options, seed=11)
    with processor.mode():
        assert emits_compiled(state) == (compiled and supports_numba(processor.device))
    while state.active_flows:
        state = processor.step(state)
    with torch.no_grad():
        result = finished(processor, state, state.cohorts[0])
    return [bits(result, row) for row in range(SAMPLES)]


@settings(max_examples=60, deadline=None)
@given(options=any_options(), convergence_threshold=st.sampled_from((0.3, 1.0)))
def test_what_follows_from_decisions(options: dict[str, Any], convergence_threshold: float) -> None:
    options = {**options, "convergence.threshold": convergence_threshold}
    differentiable = copy.deepcopy(varied()).train()
    for mine, its in zip(
        told(varied(), options, True), told(differentiable, options, False), strict=True
    ):
        assert differing(mine, its) == []


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
